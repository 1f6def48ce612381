"""Given-parts of tests of the narrow door for a renewal: who has expired, what is decided, and who comes in."""

from datetime import datetime, timedelta
from typing import Any

from bfcerts.ocpp.canonical import Evidence, RefusalReason
from bfcerts.ocpp.models import StationSession
from bfcerts.ocpp.registry import Admission, Refusal
from inventory.models import CertificateRecord, ManagedIdentity
from inventory.services import sweeps
from inventory.services.door import CertificateDoor
from migration.models import RecoveryDoor
from migration.services import renewal_door
from tests.inventory.attempts import certificate_attempt
from tests.support import OPERATOR, ControlPlane, charger

DAY = timedelta(days=1)


def expired(
    plane: ControlPlane, name: str = "CS-1", *, swept: bool = True
) -> tuple[ManagedIdentity, CertificateRecord]:
    """A charger on Profile 3 whose certificate ended a day ago."""
    identity = charger(name)
    record = plane.enrol(identity)
    assert record.not_after is not None
    plane.clock.now = record.not_after + DAY
    if swept:
        sweeps.retire_expired(plane.clock())
    identity.refresh_from_db()
    record.refresh_from_db()
    return identity, record


def open_door(plane: ControlPlane, identity: ManagedIdentity, **more: Any) -> RecoveryDoor:
    return renewal_door.open_for_renewal(
        **{
            "identity": identity,
            "until": plane.clock() + 2 * DAY,
            "actor": OPERATOR,
            "reason": "forgotten over the winter",
            "now": plane.clock(),
            **more,
        }
    )


def decide(record: CertificateRecord, now: datetime, station: str = "") -> Admission | Refusal:
    current = CertificateRecord.objects.select_related("identity").get(pk=record.pk)
    (decision,) = CertificateDoor().decide([certificate_attempt(current, now, station)])
    return decision


def reason_of(decision: Admission | Refusal) -> RefusalReason:
    assert isinstance(decision, Refusal)
    return decision.reason


def come_in(plane: ControlPlane, record: CertificateRecord) -> Admission:
    """A connection as the gateway stores it."""
    decision = decide(record, plane.clock())
    assert isinstance(decision, Admission)
    assert decision.evidence_wanted
    plane.observe(
        record.identity.authoritative_identifier,
        Evidence.CONNECTED,
        {
            "profile": 3,
            "fingerprint": record.fingerprint,
            "renewal_only": decision.renewal_only_until is not None,
        },
    )
    plane.work()
    return decision


def session(plane: ControlPlane, identity: ManagedIdentity, record: CertificateRecord) -> StationSession:
    made = plane.seen(identity, profile=3)
    StationSession.objects.filter(pk=made.pk).update(
        closed_at=None, certificate_fingerprint=record.fingerprint, renewal_only=True
    )
    return made
