"""What the floors above hold back: first enrolments and cut-overs, never the renewal of a charger that works."""

from datetime import datetime

from django.db.models import Q

from inventory import seams
from inventory.actors import Actor
from inventory.choices import SecurityCategory, SecuritySource, Severity
from inventory.errors import HeldBackError
from inventory.models import CertificateJob, CertificateRecord, ManagedIdentity
from inventory.purposes import CHARGER_IDENTITY, Purpose
from inventory.seams import Gated
from inventory.services.security_events import record_security_event

FORECAST_OVERRIDDEN = "forecast_overridden"
"""The parameter of a job that says that somebody let it go on although chargers could not reconnect."""
OVERRIDE = "migration.override_lockout_forecast"


def why_no_first_enrolment(identity: ManagedIdentity, entry: Purpose, slot: str, now: datetime) -> str | None:
    """Why a charger may not get its first certificate now; None where it may, or this one is none of its first.

    It has one already where one is active, and where somebody lets it in with its expired one to renew it.
    """
    if entry.key != CHARGER_IDENTITY.key:
        return None
    present = Q(state="active") | Q(renewal_only_until__gt=now)
    if CertificateRecord.objects.of(identity.pk, entry.key, slot).filter(present).exists():
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


def why_no_server_certificate(job: CertificateJob, now: datetime) -> str | None:
    """Why a listener of ours may not get the certificate of this job now; None where it may, or somebody said so."""
    if job.parameters.get(FORECAST_OVERRIDDEN):
        return None
    return seams.what_holds_back(Gated.SERVER_CERTIFICATE, job.identity, now)


def tell_of_held_server_certificate(job: CertificateJob, why: str, now: datetime) -> None:
    """A security event, once a day for each listener and slot."""
    host = job.identity.authoritative_identifier
    record_security_event(
        "ServerCertificateHeldBack",
        category=SecurityCategory.TLS_AND_CERTIFICATE,
        severity=Severity.CRITICAL,
        source=SecuritySource.CONTROL_PLANE,
        message=f"The server certificate of {host} is not renewed: {why}",
        now=now,
        identity=job.identity,
        job=job,
        dedupe_key=f"server-certificate-held:{job.identity_id}:{job.slot}:{now:%Y%m%d}",
    )


def foreseen(identity: ManagedIdentity, now: datetime) -> str:
    """Why a charger could not come back after its cut-over, and on what evidence; empty where nothing is against it."""
    return "; ".join(filter(None, (item.evidence_against(identity, now) for item in seams.forecasts())))


def may_override_forecast(actor: Actor) -> bool:
    """Whether this operator may cut over a charger that could not come back."""
    return all(actor.may(item.permission) for item in seams.forecasts())


def check_forecast(identity: ManagedIdentity, *, actor: Actor, override: bool, reason: str, now: datetime) -> str:
    """Refuse a cut-over after which the charger could not come back.

    :returns: the evidence that was overridden; empty where nothing was against it.
    :raises InventoryError: without `override`, without its permission, or without a reason.
    """
    checked = [
        item.require_safe(identity, actor=actor, override=override, reason=reason, now=now)
        for item in seams.forecasts()
    ]
    return "; ".join(filter(None, checked))


def _refuse(why: str | None, identity: ManagedIdentity, what: str) -> None:
    if why is not None:
        raise HeldBackError(f"{identity.authoritative_identifier} {what}: {why.removesuffix('.')}.")
