"""The gateway's own server certificates: asked for, issued, presented, renewed, like every other."""

from datetime import timedelta

import pytest

from bfcerts.pki.certificates import split_chain
from bfcerts.pki.csr import parse_csr
from inventory.choices import EventType, EvidenceKind, JobAction, JobState, RecordState
from inventory.models import CertificateJob, CertificateRecord, DomainEvent, IssuingAuthority, ManagedIdentity
from inventory.services import identities, lifecycle, sweeps
from inventory.services.listeners import ListenerCertificates
from tests.support import OPERATOR, ControlPlane, PrivateKey, new_key, request_for

pytestmark = pytest.mark.django_db

HOST = "gateway.example.net"
LISTENERS = ListenerCertificates()


def host() -> ManagedIdentity:
    return ManagedIdentity.objects.get(kind="service_endpoint", authoritative_identifier=HOST)


def ask(plane: ControlPlane, key_types: tuple[str, ...] = ("ecdsa",)) -> None:
    LISTENERS.ensure_requested(HOST, key_types, plane.clock())
    plane.work()


def answer(plane: ControlPlane, key: PrivateKey | None = None, name: str = HOST) -> str:
    """What the gateway does with a request: it makes a key, hands in the CSR, and learns the chain."""
    (wanted,) = LISTENERS.wanted(HOST)
    csr = request_for(name, key)
    LISTENERS.submit_request(wanted.reference, csr, plane.clock())
    plane.work()
    return parse_csr(csr).public_key_sha256


def presented(plane: ControlPlane) -> CertificateRecord:
    ask(plane)
    public_key = answer(plane)
    LISTENERS.presented(public_key, plane.clock())
    return CertificateRecord.objects.get(public_key_sha256=public_key)


def test_a_listener_gets_its_certificate_and_is_active_when_it_presents_it(plane: ControlPlane) -> None:
    ask(plane)
    assert host().name == f"OCPP gateway {HOST}"
    public_key = answer(plane)
    record = CertificateRecord.objects.get()
    assert (record.state, record.slot) == (RecordState.ISSUED, "ecdsa")
    assert record.subject_alternative_names == [f"DNS:{HOST}"]

    LISTENERS.presented(public_key, plane.clock())

    record.refresh_from_db()
    assert record.state == RecordState.ACTIVE
    assert record.activation_evidence is not None
    assert record.activation_evidence.kind == EvidenceKind.LISTENER_PRESENTS
    job = CertificateJob.objects.get()
    assert (job.state, job.outcome) == (
        JobState.SUCCEEDED,
        f"Certificate {record.pk} is active: our listener presents it.",
    )
    types = list(DomainEvent.objects.filter(record=record).order_by("id").values_list("type", flat=True))
    assert types == [
        EventType.CSR_VALIDATED,
        EventType.CERTIFICATE_ISSUED,
        EventType.CERTIFICATE_INSTALL_REQUESTED,
        EventType.CERTIFICATE_INSTALLED,
        EventType.CERTIFICATE_ACTIVATED,
    ]


def test_the_chain_is_leaf_first_and_without_its_root(plane: ControlPlane) -> None:
    ask(plane)
    public_key = answer(plane)
    record = CertificateRecord.objects.get()

    chain = LISTENERS.chain_for(public_key)

    assert chain is not None
    assert split_chain(chain) == [record.certificate_pem, *split_chain(record.chain_pem)[:-1]]
    assert LISTENERS.chain_for("0" * 64) is None


def test_two_key_types_have_two_certificates_side_by_side(plane: ControlPlane) -> None:
    ask(plane, ("ecdsa", "rsa"))

    assert {wanted.key_type for wanted in LISTENERS.wanted(HOST)} == {"ecdsa", "rsa"}
    for wanted in LISTENERS.wanted(HOST):
        csr = request_for(HOST)
        LISTENERS.submit_request(wanted.reference, csr, plane.clock())
        plane.work()
        LISTENERS.presented(parse_csr(csr).public_key_sha256, plane.clock())

    assert CertificateRecord.objects.filter(state=RecordState.ACTIVE).count() == 2


def test_asking_again_asks_for_nothing_while_there_is_one_or_one_is_coming(plane: ControlPlane) -> None:
    ask(plane)
    ask(plane)
    assert CertificateJob.objects.count() == 1
    public_key = answer(plane)
    ask(plane)
    LISTENERS.presented(public_key, plane.clock())
    ask(plane)

    assert CertificateJob.objects.count() == 1


def test_an_expired_certificate_with_its_renewal_at_work_is_no_reason_to_fail(plane: ControlPlane) -> None:
    record = presented(plane)
    plane.clock.advance(days=80)
    lifecycle.renew(record=record, actor=OPERATOR, reason="test", now=plane.clock())
    plane.clock.advance(days=11)

    ask(plane)

    assert CertificateJob.objects.filter(action=JobAction.RENEW).count() == 1
    assert CertificateJob.objects.count() == 2


def test_a_disabled_host_is_left_alone(plane: ControlPlane) -> None:
    ask(plane)
    identities.set_enabled(identity=host(), enabled=False, actor=OPERATOR, reason="test")
    plane.clock.advance(days=1)

    ask(plane)

    assert CertificateJob.objects.count() == 1


def test_after_a_failure_the_next_request_waits_a_moment(plane: ControlPlane) -> None:
    ask(plane)
    answer(plane, name="another.example.net")
    assert CertificateJob.objects.get().state == JobState.FAILED

    ask(plane)
    assert CertificateJob.objects.count() == 1
    plane.clock.advance(minutes=2)
    ask(plane)
    assert CertificateJob.objects.count() == 2


def test_a_request_that_came_too_late_is_of_no_use_and_no_error(plane: ControlPlane) -> None:
    ask(plane)
    (wanted,) = LISTENERS.wanted(HOST)
    answer(plane)

    LISTENERS.submit_request(wanted.reference, request_for(HOST), plane.clock())

    assert CertificateRecord.objects.count() == 1
    assert LISTENERS.wanted(HOST) == []


def test_a_listener_that_never_answers_is_asked_a_bounded_number_of_times(plane: ControlPlane) -> None:
    ask(plane)
    job = CertificateJob.objects.get()
    references = set()
    for _ in range(40):
        references |= {wanted.reference for wanted in LISTENERS.wanted(HOST)}
        plane.clock.advance(hours=1)
        plane.work()

    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert "Asked 8 times" in job.outcome
    assert len(references) == 8


def test_a_renewal_replaces_the_certificate_when_the_new_one_is_presented(plane: ControlPlane) -> None:
    old = presented(plane)
    assert old.not_after is not None
    plane.clock.now = old.not_after - timedelta(days=30)
    plane.sweep()
    public_key = answer(plane)
    old.refresh_from_db()
    assert old.state == RecordState.ACTIVE

    LISTENERS.presented(public_key, plane.clock())
    LISTENERS.presented(public_key, plane.clock())

    old.refresh_from_db()
    new = CertificateRecord.objects.get(public_key_sha256=public_key)
    assert (old.state, new.state, new.replaces) == (RecordState.RETIRED, RecordState.ACTIVE, old)
    assert DomainEvent.objects.filter(type=EventType.CERTIFICATE_ACTIVATED).count() == 2
    assert LISTENERS.chain_for(old.public_key_sha256) is None


def test_a_renewal_that_nobody_presents_leaves_the_old_one_and_ends(plane: ControlPlane) -> None:
    old = presented(plane)
    job = lifecycle.renew(record=old, actor=OPERATOR, reason="test", now=plane.clock())
    plane.work()
    public_key = answer(plane)

    plane.clock.advance(hours=2)
    plane.work()
    job.refresh_from_db()
    old.refresh_from_db()
    assert (job.state, old.state) == (JobState.FAILED, RecordState.ACTIVE)
    plane.clock.advance(days=6)
    sweeps.revoke_unconfirmed(plane.clock())

    assert CertificateRecord.objects.get(public_key_sha256=public_key).state == RecordState.REVOKED
    assert LISTENERS.chain_for(public_key) is None


def test_a_reactivated_certificate_becomes_active_anew_each_time(plane: ControlPlane) -> None:
    record = presented(plane)
    for _ in range(3):
        plane.clock.advance(minutes=1)
        lifecycle.deactivate(record=record, actor=OPERATOR, reason="test", force=True, now=plane.clock())
        lifecycle.reactivate(record=record, actor=OPERATOR, reason="test", now=plane.clock())
        plane.clock.advance(minutes=1)
        LISTENERS.presented(record.public_key_sha256, plane.clock())
        record.refresh_from_db()
        assert record.state == RecordState.ACTIVE
        assert record.activation_evidence is not None
        assert record.activation_evidence.observed_at == plane.clock()

    assert DomainEvent.objects.filter(type=EventType.CERTIFICATE_ACTIVATED, record=record).count() == 4


def test_presenting_what_nobody_knows_is_no_error(plane: ControlPlane) -> None:
    LISTENERS.presented("0" * 64, plane.clock())


def test_a_key_is_this_hosts_for_ever(plane: ControlPlane) -> None:
    key = new_key()
    ask(plane)
    answer(plane, key)
    LISTENERS.ensure_requested("other.example.net", ("ecdsa",), plane.clock())
    plane.work()
    (wanted,) = LISTENERS.wanted("other.example.net")

    LISTENERS.submit_request(wanted.reference, request_for("other.example.net", key), plane.clock())

    job = CertificateJob.objects.latest("id")
    assert job.state == JobState.FAILED
    assert f"used by another identity ({HOST})" in job.outcome


def test_clients_are_checked_against_the_charger_trust_domain_and_no_other(plane: ControlPlane) -> None:
    anchors = LISTENERS.client_trust_anchors()

    expected = split_chain(IssuingAuthority.objects.get(trust_domain="charger_identity").chain_pem)
    assert anchors == expected
    foreign = IssuingAuthority.objects.exclude(trust_domain="charger_identity")
    assert not {pem for authority in foreign for pem in split_chain(authority.chain_pem)} & set(anchors)
    IssuingAuthority.objects.update(trusted=False)
    assert LISTENERS.client_trust_anchors() == []
