"""The door for client certificates: every state, time and identity, with the reason why it stays shut."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from bfcerts.ocpp.adapters import VARIANTS
from bfcerts.ocpp.canonical import RefusalReason as R
from bfcerts.ocpp.registry import Admission, ConnectionAttempt, PresentedCertificate, Refusal
from inventory.choices import ProtocolVariant, RecordState, SubjectKind
from inventory.models import CertificateRecord, ChargerFamily, IssuingAuthority, ManagedIdentity
from inventory.services import catalogue, identities, observations
from inventory.services.door import CertificateDoor
from tests.inventory.attempts import certificate_attempt
from tests.inventory.material import external_certificate, publish_external_authority
from tests.inventory.records import NOW, bring_to, record_of
from tests.support import OPERATOR, charger

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


def record_in(state: str, identity: ManagedIdentity | None = None, **fields: Any) -> CertificateRecord:
    record = record_of(identity or charger("CS-1"))
    bring_to(record, state)
    CertificateRecord.objects.filter(pk=record.pk).update(**{"not_before": NOW - DAY, "not_after": NOW + DAY, **fields})
    return CertificateRecord.objects.select_related("identity").get(pk=record.pk)


def decide(record: CertificateRecord, station_id: str = "") -> Admission | Refusal:
    (decision,) = CertificateDoor().decide([certificate_attempt(record, NOW, station_id)])
    return decision


def refusal(decision: Admission | Refusal) -> R:
    assert isinstance(decision, Refusal)
    assert decision.detail.endswith(".")
    return decision.reason


WINDOWS: list[tuple[str, dict[str, Any], R | None]] = [
    ("issued", {"confirm_by": None}, R.CERTIFICATE_NOT_ACCEPTABLE),
    ("issued", {"confirm_by": NOW - DAY}, R.CERTIFICATE_NOT_ACCEPTABLE),
    ("issued", {"confirm_by": NOW}, R.CERTIFICATE_NOT_ACCEPTABLE),
    ("issued", {"confirm_by": NOW + SECOND}, None),
    ("installed_pending_activation", {}, None),
    ("installed_pending_activation", {"confirm_by": NOW + DAY}, None),
    ("active", {}, None),
    ("inactive", {}, R.CERTIFICATE_NOT_ACCEPTABLE),
    ("retired", {"rollback_until": None}, R.CERTIFICATE_SUPERSEDED),
    ("retired", {"rollback_until": NOW - DAY}, R.CERTIFICATE_SUPERSEDED),
    ("retired", {"rollback_until": NOW}, R.CERTIFICATE_SUPERSEDED),
    ("retired", {"rollback_until": NOW + SECOND}, None),
    ("revoked", {}, R.CERTIFICATE_REVOKED),
    ("revoked", {"rollback_until": NOW + DAY}, R.CERTIFICATE_REVOKED),
    ("deleted", {}, R.CERTIFICATE_NOT_ACCEPTABLE),
]


def test_the_table_has_every_state_that_has_a_certificate() -> None:
    assert {state for state, _, _ in WINDOWS} == set(RecordState.values) - {RecordState.REQUESTED}


@pytest.mark.parametrize(("state", "fields", "reason"), WINDOWS)
def test_the_state_decides_while_the_certificate_is_valid(state: str, fields: dict[str, Any], reason: R | None) -> None:
    decision = decide(record_in(state, **fields))

    if reason is None:
        assert decision == Admission(3, evidence_wanted=True)
    else:
        assert refusal(decision) == reason


@pytest.mark.parametrize(("state", "fields", "reason"), WINDOWS)
def test_nothing_opens_the_door_before_or_after_its_time(state: str, fields: dict[str, Any], reason: R | None) -> None:
    record = record_in(state, **fields)
    for not_before, not_after, expected in (
        (NOW - DAY, NOW, R.CERTIFICATE_EXPIRED),
        (NOW - 2 * DAY, NOW - DAY, R.CERTIFICATE_EXPIRED),
        (NOW + SECOND, NOW + DAY, R.CERTIFICATE_NOT_YET_VALID),
    ):
        CertificateRecord.objects.filter(pk=record.pk).update(not_before=not_before, not_after=not_after)
        assert refusal(decide(record)) == expected


@pytest.mark.parametrize(("state", "fields", "reason"), WINDOWS)
def test_another_stations_certificate_never_opens_the_door(
    state: str, fields: dict[str, Any], reason: R | None
) -> None:
    record = record_in(state, **fields)
    charger("CS-2")

    for station in ("CS-2", "CS-10", "cs-1", "CS-", "nobody"):
        assert refusal(decide(record, station)) == R.CERTIFICATE_OF_ANOTHER_STATION


@pytest.mark.parametrize(("state", "fields", "reason"), WINDOWS)
def test_a_disabled_station_never_gets_in(state: str, fields: dict[str, Any], reason: R | None) -> None:
    record = record_in(state, **fields)
    ManagedIdentity.objects.update(enabled=False)

    assert refusal(decide(record)) == R.DISABLED_STATION


@pytest.mark.parametrize(("state", "fields", "reason"), WINDOWS)
def test_the_door_and_the_inventory_agree_on_what_is_usable(
    state: str, fields: dict[str, Any], reason: R | None
) -> None:
    record = record_in(state, **fields)

    usable = CertificateRecord.objects.filter(pk=record.pk).usable_at(NOW).exists()

    # An issued certificate opens the door while it is delivered, but nobody counts on it before it is installed.
    assert usable == (reason is None and state != "issued")


def test_a_certificate_of_another_trust_domain_is_refused() -> None:
    host = identities.create(
        kind=SubjectKind.SERVICE_ENDPOINT, authoritative_identifier="CS-1", actor=OPERATOR, reason="test"
    )
    record = record_of(host, purpose="backend_server", trust_domain="backend_server", slot="ecdsa")
    bring_to(record, "active")
    record.refresh_from_db()

    assert refusal(decide(record)) == R.FOREIGN_TRUST_DOMAIN


def test_a_chargers_certificate_for_another_purpose_is_refused() -> None:
    record = record_of(charger("CS-1"), purpose="iso15118_evse_leaf", trust_domain="iso15118_evse_leaf")
    bring_to(record, "active")
    record.refresh_from_db()

    assert refusal(decide(record)) == R.FOREIGN_TRUST_DOMAIN


def test_only_the_very_certificate_counts_and_not_its_names() -> None:
    import base64

    record = record_in("active")
    pem = external_certificate("CS-1", NOW, 100)
    der = base64.b64decode("".join(line for line in pem.splitlines() if not line.startswith("-----")))
    attempt = ConnectionAttempt(
        "CS-1", "127.0.0.1", "profile3", "ocpp2.0.1", PresentedCertificate("0" * 64, der), None, NOW
    )

    (decision,) = CertificateDoor().decide([attempt])

    assert isinstance(decision, Refusal)
    assert decision.reason == R.UNKNOWN_CERTIFICATE
    assert "for “CN=CS-1”" in decision.detail
    assert record.fingerprint not in decision.detail


@pytest.mark.parametrize("fingerprint", ["0" * 64, ""])
def test_an_unreadable_certificate_is_refused_and_not_an_error(fingerprint: str) -> None:
    record_of(charger("CS-1"))  # requested: it has no fingerprint yet, and an empty one must not match it
    attempt = ConnectionAttempt(
        "CS-1", "127.0.0.1", "profile3", "ocpp2.0.1", PresentedCertificate(fingerprint, b"\x30\x03junk"), None, NOW
    )

    (decision,) = CertificateDoor().decide([attempt])

    assert refusal(decision) == R.UNKNOWN_CERTIFICATE


def test_without_a_certificate_there_is_no_way_in_here() -> None:
    attempt = ConnectionAttempt("CS-1", "127.0.0.1", "profile3", "ocpp2.0.1", None, b"password", NOW)

    (decision,) = CertificateDoor().decide([attempt])

    assert refusal(decision) == R.NO_CLIENT_CERTIFICATE


@pytest.mark.parametrize(
    ("profile", "fallback", "news"),
    [(0, None, True), (2, None, True), (3, None, False), (3, NOW + DAY, True), (3, NOW - DAY, True)],
)
def test_a_known_connection_is_no_news_and_leaves_no_evidence(profile: int, fallback: Any, news: bool) -> None:
    record = record_in("active")
    ManagedIdentity.objects.update(security_profile=profile, fallback_until=fallback)

    assert decide(record) == Admission(3, evidence_wanted=news)


def test_the_door_names_the_variant_that_the_family_speaks() -> None:
    record = record_in("active")
    family = ChargerFamily(name="HS-50", vendor="Harbour", model="HS-50", protocol_variant="ocpp1.6-legacy-trigger")
    catalogue.save(entry=family, actor=OPERATOR, reason="test")
    ManagedIdentity.objects.update(family=family)

    decision = decide(record)

    assert isinstance(decision, Admission)
    assert decision.options == {"adapter": "ocpp1.6-legacy-trigger"}


def test_every_variant_that_a_family_can_name_has_an_adapter() -> None:
    assert set(ProtocolVariant.values) - {""} == set(VARIANTS)


def test_a_batch_is_decided_in_order_by_one_query() -> None:
    records = [record_in("active", charger(f"CS-{number}")) for number in range(5)]
    CertificateRecord.objects.filter(pk=records[2].pk).update(not_after=NOW)
    attempts = [certificate_attempt(record, NOW) for record in records]
    attempts.insert(1, certificate_attempt(records[0], NOW, "CS-4"))

    with CaptureQueriesContext(connection) as queries:
        decisions = CertificateDoor().decide(attempts)

    assert len(queries) == 1
    reasons = [None if isinstance(decision, Admission) else decision.reason for decision in decisions]
    assert reasons == [None, R.CERTIFICATE_OF_ANOTHER_STATION, None, R.CERTIFICATE_EXPIRED, None, None]


def test_every_reason_of_the_doors_has_words_for_the_operator() -> None:
    assert set(observations._REFUSALS) == set(R)


@pytest.mark.parametrize(("state", "fields", "reason"), WINDOWS)
def test_a_narrow_door_lets_in_what_expired_only_in_use_or_retired_and_only_for_its_time(
    state: str, fields: dict[str, Any], reason: R | None
) -> None:
    record = record_in(state, **{"not_after": NOW, **fields})
    if state not in ("active", "retired"):
        with transaction.atomic(), pytest.raises(IntegrityError, match="renewal_door_only_for_what_expired"):
            CertificateRecord.objects.filter(pk=record.pk).update(renewal_only_until=NOW + DAY)
        assert refusal(decide(record)) == R.CERTIFICATE_EXPIRED
        return
    for until in (NOW - DAY, NOW):
        CertificateRecord.objects.filter(pk=record.pk).update(renewal_only_until=until)
        assert refusal(decide(record)) == R.CERTIFICATE_EXPIRED
    CertificateRecord.objects.filter(pk=record.pk).update(renewal_only_until=NOW + SECOND)

    assert decide(record) == Admission(3, evidence_wanted=True, renewal_only_until=NOW + SECOND)
    assert refusal(decide(record, "CS-2")) == R.CERTIFICATE_OF_ANOTHER_STATION
    CertificateRecord.objects.filter(pk=record.pk).update(not_before=NOW + SECOND, not_after=NOW + DAY)
    assert refusal(decide(record)) == R.CERTIFICATE_NOT_YET_VALID


@pytest.mark.parametrize("place", ["issuing CA", "root"])
def test_nothing_opens_the_door_below_a_ca_that_has_expired(place: str) -> None:
    """TLS checks no dates, so the door looks at every CA above the certificate, too."""
    good = external_certificate("Good CA", NOW - DAY, 100, is_ca=True)
    over = external_certificate("Old CA", NOW - 9 * DAY, 9, is_ca=True)
    chain = over + good if place == "issuing CA" else good + over
    record = record_in("active", chain_pem=chain)

    refused = decide(record)

    assert refusal(refused) == R.AUTHORITY_EXPIRED
    assert isinstance(refused, Refusal)
    assert refused.detail == f"Certificate {record.pk} chains to a CA that expired on {NOW:%Y-%m-%d %H:%M} UTC."
    CertificateRecord.objects.filter(pk=record.pk).update(not_after=NOW, renewal_only_until=NOW + DAY)
    assert refusal(decide(record)) == R.CERTIFICATE_EXPIRED
    CertificateRecord.objects.filter(pk=record.pk).update(chain_pem=good)
    assert isinstance(decide(record), Admission)


def test_the_present_chain_of_its_authority_counts() -> None:
    """A CA that was certified anew, with the same key, has another end than the chain that was stored once."""
    authority = publish_external_authority(NOW)
    over = external_certificate("Old CA", NOW - 9 * DAY, 9, is_ca=True)
    record = record_in("active", chain_pem=over, authority=authority)

    assert isinstance(decide(record), Admission)
    IssuingAuthority.objects.filter(pk=authority.pk).update(chain_pem=over)
    assert refusal(decide(record)) == R.AUTHORITY_EXPIRED
