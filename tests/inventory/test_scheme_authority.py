"""A scheme's CA over EST in the one issuance: slow, away, in HTML, or issuing what it should not."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bfcerts.pki.certificates import parse_certificate, split_chain
from inventory.choices import JobState, RecordState
from inventory.models import CertificateJob, CertificateRecord, IssuanceIntent, IssuingAuthority, SecurityEvent
from inventory.services import issuance, lifecycle
from tests.conftest import pki_configuration
from tests.pki.est_server import HTML, EstServer, Scripted
from tests.pki.material import parsed_csr
from tests.support import OPERATOR, Clock, ControlPlane, charger, request_for

pytestmark = pytest.mark.django_db

EVSE = "DE*ICE*E45B*78C"


@pytest.fixture
def scheme(tmp_path: Path) -> Iterator[EstServer]:
    with EstServer(tmp_path).running() as running:
        yield running


@pytest.fixture
def plane(
    db: None, settings: Any, scheme: EstServer, tmp_path: Path, authority_directory: Path, clock: Clock
) -> Iterator[ControlPlane]:
    (tmp_path / "roots.pem").write_text(scheme.root.certificate.pem)
    (tmp_path / "tls.pem").write_text(scheme.tls_root.certificate.pem)
    set_up = {
        "url": scheme.url,
        "anchors": str(tmp_path / "roots.pem"),
        "server_anchors": str(tmp_path / "tls.pem"),
        "per_second": 0.5,
    }
    settings.CONFIGURATION = pki_configuration(authority_directory).model_copy(
        update={"est_authorities": json.dumps({"iso15118_evse_leaf": set_up})}
    )
    issuance.authorities.cache_clear()
    clock.advance(minutes=1)  # the server dates what it issues by the real time
    plane = ControlPlane(clock)
    plane.start()
    yield plane
    issuance.authorities.cache_clear()


def request(plane: ControlPlane, name: str = EVSE, **fields: Any) -> CertificateJob:
    """An EVSE leaf that we manage, from a request that the charger made."""
    return lifecycle.issue(
        identity=charger(name, mode="managed", pilot=True, **fields),
        purpose="iso15118_evse_leaf",
        csr_pem=request_for(name),
        actor=OPERATOR,
        reason="test",
        now=plane.clock(),
    )


def record_of(job: CertificateJob) -> CertificateRecord:
    job.refresh_from_db()
    assert job.record is not None, job.outcome
    return job.record


def enrolments(scheme: EstServer) -> int:
    return sum(one.method == "POST" for one in scheme.seen)


def test_a_leaf_of_the_scheme_is_issued_for_as_long_as_the_scheme_says(plane: ControlPlane, scheme: EstServer) -> None:
    assert not scheme.seen  # a scheme that is away keeps nobody from starting
    job = request(plane)

    plane.work()

    record = record_of(job)
    assert record.state == RecordState.ISSUED
    leaf = parse_certificate(scheme.issued[0])
    assert (record.fingerprint, record.not_after) == (leaf.fingerprint_sha256, leaf.not_after)
    assert split_chain(record.chain_pem)[:2] == [scheme.sub2.certificate.pem, scheme.sub1.certificate.pem]
    published = IssuingAuthority.objects.get(trust_domain="iso15118_evse_leaf")
    assert record.authority == published
    assert (published.mode, published.root_pem) == ("EST", scheme.root.certificate.pem)
    assert IssuanceIntent.objects.get(record=record).reference.startswith("est:iso15118_evse_leaf:")
    assert not SecurityEvent.objects.exists()


def test_a_request_that_the_scheme_has_taken_waits_and_is_asked_for_again(
    plane: ControlPlane, scheme: EstServer
) -> None:
    job = request(plane)
    scheme.scripted = [None, Scripted(202, headers={"Retry-After": "3600"})]

    plane.work()

    job.refresh_from_db()
    assert job.state == JobState.WAITING
    assert job.waiting_for.startswith("the CA to sign: https://localhost")
    assert abs(job.next_run_at - plane.clock() - timedelta(hours=1)) < timedelta(minutes=1)
    plane.clock.advance(hours=1)
    plane.work()
    assert record_of(job).state == RecordState.ISSUED
    assert enrolments(scheme) == 2
    assert not SecurityEvent.objects.exists()


def test_a_day_of_html_loses_nothing_and_holds_up_no_other(plane: ControlPlane, scheme: EstServer) -> None:
    job = request(plane)
    scheme.scripted = [None, *[Scripted(200, HTML, "text/html")] * 500]
    other = lifecycle.issue(
        identity=charger("CS-1"),
        purpose="charger_identity",
        csr_pem=request_for("CS-1"),
        actor=OPERATOR,
        reason="test",
        now=plane.clock(),
    )

    for _ in range(8):
        plane.work()
        plane.clock.advance(hours=3)
    assert record_of(other).state == RecordState.ISSUED
    job.refresh_from_db()
    assert job.state == JobState.WAITING
    assert "the CA to be reachable" in job.waiting_for

    scheme.scripted = []
    plane.clock.advance(hours=3)
    plane.work()

    assert record_of(job).state == RecordState.ISSUED
    (event,) = SecurityEvent.objects.filter(type="IssuanceRepeated")
    assert "may have issued a certificate of which the answer was lost" in event.message


def test_when_the_process_dies_after_it_sent_the_request_the_same_request_is_sent_again(
    plane: ControlPlane, scheme: EstServer
) -> None:
    job = request(plane)
    scheme.scripted = [None, Scripted(500)]
    plane.work()
    issuance.authorities.cache_clear()  # another process
    plane.clock.advance(hours=1)
    plane.work()

    assert record_of(job).state == RecordState.ISSUED
    first, second = (one.body for one in scheme.seen if one.method == "POST")
    assert first == second
    assert SecurityEvent.objects.filter(type="IssuanceRepeated").count() == 1


def test_throttling_fails_nothing(plane: ControlPlane, scheme: EstServer) -> None:
    job = request(plane)
    scheme.scripted = [None, *[Scripted(429, headers={"Retry-After": "600"})] * 30]
    for _ in range(30):
        plane.work()
        plane.clock.advance(minutes=10)
    job.refresh_from_db()
    assert job.state == JobState.WAITING
    assert job.waiting_for == "a free place in the CA's quota"
    plane.work()
    assert record_of(job).state == RecordState.ISSUED
    assert not SecurityEvent.objects.exists()


def test_our_own_limit_for_a_scheme_is_kept(plane: ControlPlane, scheme: EstServer) -> None:
    jobs = [request(plane, f"DE*ICE*E{number}") for number in range(3)]
    for _ in range(3):
        plane.work()
        assert enrolments(scheme) <= 3
        plane.clock.advance(seconds=2)
    plane.work()
    assert {record_of(job).state for job in jobs} == {RecordState.ISSUED}


def test_a_refusal_of_the_scheme_ends_the_job_and_says_why(plane: ControlPlane, scheme: EstServer) -> None:
    job = request(plane)
    scheme.scripted = [None, Scripted(400, b'{"errorMessages": ["CN not registered"]}', "application/json")]
    plane.work()
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert "CN not registered" in job.outcome


def test_a_certificate_of_another_key_is_not_accepted(plane: ControlPlane, scheme: EstServer) -> None:
    other = scheme.sign(parsed_csr(EVSE).der)
    scheme.beside = lambda leaf: [other]
    job = request(plane)
    plane.work()
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert SecurityEvent.objects.get().type == "UntrustworthyCertificateAuthorityAnswer"


def test_a_scheme_whose_cas_lead_to_no_anchor_is_sent_nothing(plane: ControlPlane, scheme: EstServer) -> None:
    scheme.ca_certificates = lambda: [scheme.client_root.certificate.pem]
    job = request(plane)
    plane.work()
    job.refresh_from_db()
    assert job.state == JobState.WAITING
    assert "leads to an anchor" in job.outcome
    assert enrolments(scheme) == 0


def test_a_scheme_that_is_set_up_wrongly_is_told_when_the_worker_starts(plane: ControlPlane, settings: Any) -> None:
    settings.CONFIGURATION = settings.CONFIGURATION.model_copy(update={"est_authorities": '{"charger_identity": 1}'})
    issuance.authorities.cache_clear()
    with pytest.raises(issuance.AuthorityNotUsableError, match="BFCERTS_EST_AUTHORITIES cannot be used") as caught:
        issuance.publish_authorities(plane.clock())
    assert "\n" not in str(caught.value)
