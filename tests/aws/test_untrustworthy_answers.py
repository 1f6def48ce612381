"""What the CA answers is believed only when it verifies; anything else becomes no record, and is told."""

import ssl
from collections.abc import Callable

import pytest

from bfcerts.ocpp.canonical import Action
from inventory.choices import EventType, JobState, RecordState, Severity
from inventory.models import CertificateRecord, DomainEvent, SecurityEvent
from inventory.services import issuance
from tests.acm_pca import AcmPcaServer
from tests.aws.installation import Installation
from tests.support import charger

pytestmark = pytest.mark.django_db

Answer = dict[str, str]


def another_key(aws: AcmPcaServer) -> Answer:
    return {"Certificate": aws.issued[0].certificate_pem}


def the_ca_itself(aws: AcmPcaServer) -> Answer:
    return {"Certificate": aws.issued[0].chain_pem}


def another_trust_domain(aws: AcmPcaServer) -> Answer:
    return {"CertificateChain": issuance.authority_for("vehicle_vas_identity").describe().chain_pem}


def broken_signature(aws: AcmPcaServer) -> Answer:
    der = ssl.PEM_cert_to_DER_cert(aws.issued[1].certificate_pem)
    return {"Certificate": ssl.DER_cert_to_PEM_cert(der[:-1] + bytes([der[-1] ^ 1]))}


def not_pem(aws: AcmPcaServer) -> Answer:
    return {"Certificate": "<html>Service Unavailable</html>"}


def empty(aws: AcmPcaServer) -> Answer:
    return {"Certificate": ""}


def not_x509(aws: AcmPcaServer) -> Answer:
    return {"Certificate": "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n"}


def chain_not_pem(aws: AcmPcaServer) -> Answer:
    return {"CertificateChain": "none"}


def endless_chain(aws: AcmPcaServer) -> Answer:
    return {"CertificateChain": aws.issued[0].chain_pem * 2000}


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        (another_key, "key_mismatch"),
        (the_ca_itself, "is_ca"),
        (broken_signature, "signature"),
        (another_trust_domain, "wrong_trust_domain"),
        (not_pem, "not_pem"),
        (empty, "not_pem"),
        (not_x509, "malformed"),
        (chain_not_pem, "not_pem"),
    ],
)
def test_an_answer_that_does_not_verify_becomes_no_record(
    installation: Installation, aws: AcmPcaServer, answer: Callable[[AcmPcaServer], Answer], rule: str
) -> None:
    installation.request(charger("CS-0"))
    installation.work()
    identity = charger("CS-1")
    aws.answer_after(polls=2)
    job = installation.request(identity)
    installation.work()
    aws.answer_after(polls=0)
    aws.answer_instead(**answer(aws))

    installation.until_it_moves_on(job)

    assert job.state == JobState.FAILED
    assert "does not verify and was not accepted" in job.outcome
    record = CertificateRecord.objects.get(identity=identity)
    assert (record.state, record.certificate_pem, record.serial_number) == (RecordState.DELETED, "", "")
    assert f"{aws.issued[1].arn}; revoke it there" in record.failure_reason
    event = SecurityEvent.objects.get(type="UntrustworthyCertificateAuthorityAnswer")
    assert (event.severity, event.payload["rule"]) == (Severity.CRITICAL, rule)
    assert event.identity == identity
    assert not DomainEvent.objects.filter(type=EventType.CERTIFICATE_ISSUED, identity=identity).exists()
    assert not installation.commands(identity, Action.DELIVER_CERTIFICATE)


def test_certificates_without_end_around_the_right_ones_do_no_harm(
    installation: Installation, aws: AcmPcaServer
) -> None:
    installation.request(charger("CS-0"))
    installation.work()
    aws.answer_instead(**endless_chain(aws))
    job = installation.request(charger("CS-1"))

    installation.until_it_moves_on(job)

    assert job.step == "await_install", job.outcome


def test_what_is_found_for_a_lost_answer_is_verified_like_any_other(
    installation: Installation, aws: AcmPcaServer
) -> None:
    aws.lose_answer("IssueCertificate")
    job = installation.request(charger("CS-1"))
    installation.work()
    installation.clock.advance(minutes=6)
    aws.answer_instead(CertificateChain=issuance.authority_for("vehicle_vas_identity").describe().chain_pem)

    installation.until_it_moves_on(job)

    assert job.state == JobState.FAILED
    assert len(aws.issued) == 1
    assert SecurityEvent.objects.filter(type="UntrustworthyCertificateAuthorityAnswer").count() == 1
