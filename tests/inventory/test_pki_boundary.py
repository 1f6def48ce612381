"""The boundary around the CAs: who may have their secrets, and what the PKI worker refuses though others stored it."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError
from pytest_django import Settings

from bfcerts.configuration import BASE_DIRECTORY, Configuration
from bfcerts.setting_kinds import Process
from inventory.audit import attributed
from inventory.choices import EventType, JobAction, JobQueue, JobState, RecordState
from inventory.jobs import engine
from inventory.models import (
    CertificateJob,
    CertificateRecord,
    DomainEvent,
    IssuanceIntent,
    IssuingAuthority,
    ManagedIdentity,
    PublicKeyOwner,
)
from inventory.services import issuance, lifecycle
from tests.support import OPERATOR, ControlPlane, charger, new_key, request_for

pytestmark = pytest.mark.django_db

LEASE = timedelta(seconds=60)
PKI_SECRETS = {"pki_secret_key": "k" * 50, "local_ca_key": "k" * 40}


# -- secrets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("process", [process for process in Process if process is not Process.PKI])
@pytest.mark.parametrize("secret", sorted(PKI_SECRETS))
def test_no_other_process_may_be_given_the_secrets_of_the_pki_process(process: Process, secret: str) -> None:
    with pytest.raises(ValidationError, match=f"the {process} process was given the PKI process's secrets"):
        Configuration.model_validate({"process": process, secret: PKI_SECRETS[secret]})


def test_the_pki_process_needs_a_signing_key_of_its_own() -> None:
    with pytest.raises(ValidationError, match="the pki process needs BFCERTS_PKI_SECRET_KEY"):
        Configuration.model_validate({"process": Process.PKI})


def test_the_pki_process_signs_its_queue_with_a_key_that_the_web_process_does_not_have() -> None:
    web = Configuration.model_validate({"process": Process.WEB, "secret_key": "w" * 50})
    pki = Configuration.model_validate({"process": Process.PKI, "secret_key": "w" * 50, **PKI_SECRETS})

    assert pki.signing_key() == "k" * 50
    assert web.signing_key() == "w" * 50


@pytest.mark.parametrize("process", [process for process in Process if process is not Process.PKI])
def test_a_process_without_the_secrets_cannot_issue_and_says_why(
    plane: ControlPlane, settings: Settings, process: Process
) -> None:
    settings.CONFIGURATION = Configuration.model_validate({"process": process, "local_ca_allowed": True})
    issuance.authorities.cache_clear()

    with pytest.raises(issuance.AuthorityNotUsableError, match="set BFCERTS_LOCAL_CA_KEY for the PKI process"):
        issuance.authorities()


def test_an_issuing_step_that_reaches_a_process_without_the_secrets_waits_and_issues_nothing(
    plane: ControlPlane, settings: Settings
) -> None:
    job = requested(plane, charger("CS-1"))
    settings.CONFIGURATION = Configuration.model_validate({"process": Process.WORKER, "local_ca_allowed": True})
    issuance.authorities.cache_clear()

    run_pki(plane)

    job.refresh_from_db()
    assert job.state == JobState.WAITING
    assert "The certificate authorities cannot be used" in job.outcome
    assert not IssuanceIntent.objects.exists()


# -- forged rows -----------------------------------------------------------------------------------------------------


def requested(plane: ControlPlane, identity: ManagedIdentity) -> CertificateJob:
    """A job whose request waits for the PKI worker."""
    job = lifecycle.issue(
        identity=identity,
        purpose="charger_identity",
        csr_pem=request_for(identity.authoritative_identifier),
        actor=OPERATOR,
        reason="test",
        now=plane.clock(),
    )
    job.refresh_from_db()
    assert (job.step, job.queue) == ("issue", JobQueue.PKI)
    return job


def run_pki(plane: ControlPlane) -> None:
    engine.run_due(queue=JobQueue.PKI, clock=plane.clock, limit=10, lease=LEASE)


def forged(job: CertificateJob, **fields: object) -> CertificateRecord:
    """What somebody with the database can do to a waiting request, whatever our code would allow."""
    assert job.record_id is not None
    CertificateRecord.objects.filter(pk=job.record_id).update(**fields)
    return CertificateRecord.objects.get(pk=job.record_id)


def refused(plane: ControlPlane, job: CertificateJob, authority_directory: Path, rule: str) -> CertificateJob:
    before = issued_by_the_ca(authority_directory)
    run_pki(plane)
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert job.outcome.startswith("Refused by the PKI worker: ")
    assert job.record is not None
    assert CertificateRecord.objects.get(pk=job.record.pk).state == RecordState.DELETED
    assert DomainEvent.objects.get(type=EventType.CSR_REJECTED).payload["rule"] == rule
    assert issued_by_the_ca(authority_directory) == before
    return job


def issued_by_the_ca(authority_directory: Path) -> set[Path]:
    return set(authority_directory.glob("*/issued/*/*.pem"))


def test_the_judge_of_these_tests_sees_what_the_ca_issues(plane: ControlPlane, authority_directory: Path) -> None:
    before = issued_by_the_ca(authority_directory)
    requested(plane, charger("CS-1"))

    run_pki(plane)

    assert len(issued_by_the_ca(authority_directory) - before) == 1


def test_a_request_swapped_for_one_of_another_identity_is_refused(
    plane: ControlPlane, authority_directory: Path
) -> None:
    job = requested(plane, charger("CS-1"))
    forged(job, csr_pem=request_for("CS-2"))

    refused(plane, job, authority_directory, "identity_mismatch")


def test_a_request_swapped_for_another_key_is_refused(plane: ControlPlane, authority_directory: Path) -> None:
    job = requested(plane, charger("CS-1"))
    forged(job, csr_pem=request_for("CS-1"))

    job = refused(plane, job, authority_directory, "altered")
    assert "it was altered since" in job.outcome


def test_a_request_with_a_key_that_was_never_claimed_is_refused(plane: ControlPlane, authority_directory: Path) -> None:
    job = requested(plane, charger("CS-1"))
    PublicKeyOwner.objects.all().delete()

    refused(plane, job, authority_directory, "key_of_another_identity")


def test_a_request_with_a_key_of_another_identity_is_refused(plane: ControlPlane, authority_directory: Path) -> None:
    job = requested(plane, charger("CS-1"))
    PublicKeyOwner.objects.update(identity=charger("CS-2"))

    refused(plane, job, authority_directory, "key_of_another_identity")


def test_a_whole_job_forged_for_another_identitys_request_is_refused(
    plane: ControlPlane, authority_directory: Path
) -> None:
    identity = charger("CS-1")
    stolen = request_for("CS-2", new_key())
    with attributed(OPERATOR, "forged"):
        record = CertificateRecord(
            identity=identity,
            purpose="charger_identity",
            trust_domain="charger_identity",
            mode="managed",
            csr_pem=stolen,
            requested_at=plane.clock(),
        )
        record.save()
        job = CertificateJob(
            action=JobAction.ISSUE,
            identity=identity,
            purpose="charger_identity",
            record=record,
            queue=JobQueue.PKI,
            step="issue",
            actor="person:mallory",
            reason="forged",
            correlation_id="forged",
            idempotency_key="forged",
            next_run_at=plane.clock(),
            created_at=plane.clock(),
        )
        job.save()

    refused(plane, job, authority_directory, "identity_mismatch")


def test_a_request_of_a_disabled_identity_is_refused(plane: ControlPlane, authority_directory: Path) -> None:
    job = requested(plane, charger("CS-1"))
    ManagedIdentity.objects.update(enabled=False)

    job = refused(plane, job, authority_directory, "refused")
    assert "CS-1 is disabled" in job.outcome


@pytest.mark.parametrize(
    "forgery",
    [
        {"profile": "server"},
        {"profile": "ocsp_responder"},
        {"not_after": timedelta(days=3650)},
        {"csr_sha256": "0" * 64},
        {"trust_domain": "backend_server"},
    ],
    ids=lambda forgery: next(iter(forgery)),
)
def test_an_intent_that_asks_for_more_than_policy_allows_is_refused(
    plane: ControlPlane, authority_directory: Path, forgery: dict[str, object]
) -> None:
    job = requested(plane, charger("CS-1"))
    assert job.record is not None
    now = plane.clock().replace(microsecond=0)
    asked = {
        "csr_sha256": job.record.csr_sha256,
        "profile": "charger_client",
        "not_after": timedelta(days=180),
        "trust_domain": "charger_identity",
        **forgery,
    }
    duration = asked.pop("not_after")
    assert isinstance(duration, timedelta)
    IssuanceIntent.objects.create(
        job=job,
        record=job.record,
        authority=IssuingAuthority.objects.get(trust_domain=asked.pop("trust_domain")),
        token="forged",
        not_before=now,
        not_after=now + duration,
        created_at=now,
        **asked,
    )

    job = refused(plane, job, authority_directory, "altered")
    assert "asks for more than policy allows" in job.outcome


def test_an_intent_of_ours_is_taken_up_again(plane: ControlPlane) -> None:
    job = requested(plane, charger("CS-1"))
    assert job.record is not None
    now = plane.clock().replace(microsecond=0)
    IssuanceIntent.objects.create(
        job=job,
        record=job.record,
        authority=IssuingAuthority.objects.get(trust_domain="charger_identity"),
        token="ours",
        csr_sha256=job.record.csr_sha256,
        profile="charger_client",
        not_before=now - timedelta(hours=1),
        not_after=now + timedelta(days=180),
        created_at=now,
        submitted_at=now,
    )

    run_pki(plane)

    assert CertificateRecord.objects.get().state == RecordState.ISSUED
    assert IssuanceIntent.objects.get().token == "ours"


def test_a_forged_revocation_of_an_active_certificate_does_not_reach_the_ca(
    plane: ControlPlane, authority_directory: Path
) -> None:
    record = plane.enrol(charger("CS-1"))
    with attributed(OPERATOR, "forged"):
        job = CertificateJob(
            action=JobAction.REVOKE,
            identity=record.identity,
            purpose="charger_identity",
            record=record,
            queue=JobQueue.PKI,
            step="revoke_at_authority",
            actor="person:mallory",
            reason="forged",
            correlation_id="forged",
            idempotency_key="forged",
            next_run_at=plane.clock(),
            created_at=plane.clock(),
        )
        job.save()

    run_pki(plane)

    job.refresh_from_db()
    assert (job.state, "is not revoked here" in job.outcome) == (JobState.FAILED, True)
    assert not set(authority_directory.glob(f"*/revoked/{record.serial_number}.json"))


# -- which process knows which step ----------------------------------------------------------------------------------

_PRINT_STEPS = """
import json, django
django.setup()
from inventory.jobs import engine
print(json.dumps({"local": sorted(engine.known_local_steps()), "external": sorted(engine.known_external_steps())}))
"""


def test_the_general_worker_knows_its_steps_and_none_that_asks_a_ca() -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "BFCERTS_TEST"))},
        "DJANGO_SETTINGS_MODULE": "bfcerts.settings",
        "BFCERTS_PROCESS": "worker",
    }
    answer = subprocess.run(
        [sys.executable, "-c", _PRINT_STEPS],
        cwd=BASE_DIRECTORY,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    known = json.loads(answer.stdout)

    assert known["external"] == []
    assert set(known["local"]) == {
        "request_csr",
        "await_trigger",
        "await_csr",
        "newer_csr",
        "deliver",
        "await_install",
        "await_doubtful",
        "await_activation",
        "send_network_profile",
        "send_priority",
        "send_security_profile",
        "send_reset",
        "cut_over_unanswered",
    }
