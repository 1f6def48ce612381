"""What the floors above hold back: first enrolments and cut-overs, never the renewal of a charger that works."""

from datetime import datetime

from inventory import seams
from inventory.errors import HeldBackError
from inventory.models import CertificateRecord, ManagedIdentity
from inventory.purposes import CHARGER_IDENTITY, Purpose
from inventory.seams import Gated


def why_no_first_enrolment(identity: ManagedIdentity, entry: Purpose, slot: str, now: datetime) -> str | None:
    """Why a charger may not get its first certificate now; None where it may, or has an active one already."""
    if entry.key != CHARGER_IDENTITY.key:
        return None
    if CertificateRecord.objects.of(identity.pk, entry.key, slot).filter(state="active").exists():
        return None
    return seams.what_holds_back(Gated.FIRST_ENROLMENT, identity, now)


def check_first_enrolment(identity: ManagedIdentity, entry: Purpose, slot: str, now: datetime) -> None:
    """Refuse a first enrolment that is held back.

    :raises HeldBackError: with the reason of whoever holds it back.
    """
    _refuse(why_no_first_enrolment(identity, entry, slot, now), identity, "gets no first certificate yet")


def check_cut_over(identity: ManagedIdentity, now: datetime) -> None:
    """Refuse a cut-over that is held back.

    :raises HeldBackError: with the reason of whoever holds it back.
    """
    _refuse(seams.what_holds_back(Gated.CUT_OVER, identity, now), identity, "is not cut over yet")


def _refuse(why: str | None, identity: ManagedIdentity, what: str) -> None:
    if why is not None:
        raise HeldBackError(f"{identity.authoritative_identifier} {what}: {why.removesuffix('.')}.")
