"""A charger that accepted a newer certificate and never used it before it expired: which one the narrow door is for."""

from datetime import timedelta

import pytest

from bfcerts.ocpp.canonical import Action, Evidence, RefusalReason
from bfcerts.ocpp.registry import Admission
from inventory.choices import RecordState
from inventory.errors import TransitionRefusedError
from inventory.models import CertificateRecord, LifecyclePolicy, ManagedIdentity, SecurityEvent
from inventory.services import lifecycle, sweeps
from migration.services.why import why
from tests.migration.renewing import DAY, come_in, decide, open_door, reason_of
from tests.support import OPERATOR, ControlPlane, charger, request_for

pytestmark = pytest.mark.django_db

VALID = 10 * DAY
"""Less than an unconfirmed certificate has until it is revoked: it expires before."""


def renewed_and_away(plane: ControlPlane) -> tuple[ManagedIdentity, CertificateRecord, CertificateRecord]:
    """A charger that accepted its renewal, and was away until that, too, had expired: the older and the newer one."""
    LifecyclePolicy.objects.filter(purpose="charger_identity").update(
        validity=VALID,
        renewal_threshold=4 * DAY,
        renewal_lead=DAY,
        escalation_threshold=2 * DAY,
        incident_threshold=DAY,
    )
    identity = charger("CS-1")
    older = plane.enrol(identity)
    plane.clock.advance(days=5)
    job = lifecycle.renew(record=older, actor=OPERATOR, reason="test", now=plane.clock())
    plane.work()
    plane.answer(plane.open_command(identity, Action.REQUEST_CSR))
    plane.send_csr(identity, request_for("CS-1"))
    plane.work()
    plane.answer(plane.open_command(identity, Action.DELIVER_CERTIFICATE))
    plane.work()
    job.refresh_from_db()
    newer = job.record
    assert newer is not None
    assert newer.not_after is not None
    assert newer.state == RecordState.INSTALLED_PENDING_ACTIVATION
    plane.clock.now = newer.not_after + DAY
    plane.work()
    identity.refresh_from_db()
    return identity, older, newer


def knock(plane: ControlPlane, record: CertificateRecord) -> None:
    """It comes, is refused, and the gateway reports why."""
    reason = reason_of(decide(record, plane.clock()))
    plane.observe(
        record.identity.authoritative_identifier,
        Evidence.CONNECTION_REFUSED,
        {"reason": reason, "fingerprint": record.fingerprint, "listener": "profile3", "profile": 3},
    )
    plane.work()


@pytest.mark.parametrize("swept", [True, False])
def test_the_one_that_it_came_with_opens_the_door(plane: ControlPlane, swept: bool) -> None:
    identity, older, newer = renewed_and_away(plane)
    knock(plane, newer)
    if swept:
        sweeps.retire_expired(plane.clock())

    door = open_door(plane, identity)

    assert door.certificate_id == newer.pk
    newer.refresh_from_db()
    assert (newer.state, newer.renewal_only_until) == (RecordState.RETIRED, door.until)
    assert SecurityEvent.objects.filter(type="CertificateExpired", record=newer).count() == 1
    answer = why(identity, plane.clock())
    assert answer is not None
    assert f"lets CS-1 in with its expired certificate {newer.pk}" in answer.sentence
    assert reason_of(decide(older, plane.clock())) == RefusalReason.CERTIFICATE_EXPIRED

    assert come_in(plane, newer).renewal_only_until == door.until
    plane.play_station(identity)
    plane.play_station(identity)

    door.refresh_from_db()
    assert door.closing == "The charger is back on Profile 3"
    active = CertificateRecord.objects.get(identity=identity, state=RecordState.ACTIVE)
    assert active.pk not in (older.pk, newer.pk)


def test_until_it_has_come_with_it_the_door_is_for_the_one_that_it_used(plane: ControlPlane) -> None:
    """That a charger accepted a certificate does not say that it kept it."""
    identity, older, _ = renewed_and_away(plane)

    assert open_door(plane, identity).certificate_id == older.pk


def test_who_went_back_to_its_older_one_comes_in_with_that(plane: ControlPlane) -> None:
    identity, older, newer = renewed_and_away(plane)
    knock(plane, newer)
    plane.clock.advance(hours=1)
    knock(plane, older)

    assert open_door(plane, identity).certificate_id == older.pk
    assert isinstance(decide(older, plane.clock()), Admission)


def test_one_that_was_revoked_because_nobody_confirmed_it_opens_nothing(plane: ControlPlane) -> None:
    identity, _, newer = renewed_and_away(plane)
    knock(plane, newer)
    plane.clock.advance(days=60)

    sweeps.revoke_unconfirmed(plane.clock())

    newer.refresh_from_db()
    assert newer.state == RecordState.REVOKED
    with pytest.raises(TransitionRefusedError, match=f"Certificate {newer.pk}, the last of CS-1, was revoked"):
        open_door(plane, identity)


def test_a_charger_on_its_way_is_not_let_in_by_what_another_one_came_with(plane: ControlPlane) -> None:
    """Its certificate in the hands of another station is no sign of what it has itself."""
    identity, older, newer = renewed_and_away(plane)
    another = charger("CS-2")
    reason = reason_of(decide(newer, plane.clock(), "CS-2"))
    plane.observe(
        another.authoritative_identifier,
        Evidence.CONNECTION_REFUSED,
        {"reason": reason, "fingerprint": newer.fingerprint, "listener": "profile3", "profile": 3},
    )
    plane.work()

    assert reason == RefusalReason.CERTIFICATE_OF_ANOTHER_STATION
    assert open_door(plane, identity, until=plane.clock() + timedelta(hours=1)).certificate_id == older.pk
