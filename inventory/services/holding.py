"""What the floors above hold back: first enrolments and cut-overs, never the renewal of a charger that works."""

from collections.abc import Sequence
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
NO_FIRST = "gets no first certificate yet"


def why_no_first_enrolment(identity: ManagedIdentity, entry: Purpose, slot: str, now: datetime) -> str | None:
    """Why a charger may not get its first certificate now; None where it may, or this one is none of its first.

    It has one already where one is active, and where somebody lets it in with its expired one to renew it.
    """
    if entry.key != CHARGER_IDENTITY.key:
        return None
    if CertificateRecord.objects.of(identity.pk, entry.key, slot).filter(_none_of_its_first(now)).exists():
        return None
    return seams.what_holds_back(Gated.FIRST_ENROLMENT, identity, now)


def first_enrolments_held_back(chargers: Sequence[ManagedIdentity], now: datetime) -> dict[int, HeldBackError]:
    """Why chargers may not get their first certificates now, by their keys; the queries do not grow with them."""
    records = CertificateRecord.objects.filter(identity__in=chargers, purpose=CHARGER_IDENTITY.key, slot="")
    known = set(records.filter(_none_of_its_first(now)).values_list("identity_id", flat=True))
    held = seams.what_holds_each_back(
        Gated.FIRST_ENROLMENT, [charger for charger in chargers if charger.pk not in known], now
    )
    return {charger.pk: _refusal(held[charger.pk], charger, NO_FIRST) for charger in chargers if charger.pk in held}


def _none_of_its_first(now: datetime) -> Q:
    return Q(state="active") | Q(renewal_only_until__gt=now)


def check_first_enrolment(identity: ManagedIdentity, entry: Purpose, slot: str, now: datetime) -> None:
    """Refuse a first enrolment that is held back.

    :raises HeldBackError: with the reason of whoever holds it back.
    """
    why = why_no_first_enrolment(identity, entry, slot, now)
    if why is not None:
        raise _refusal(why, identity, NO_FIRST)


def check_cut_over(identity: ManagedIdentity, now: datetime) -> None:
    """Refuse a cut-over that is held back.

    :raises HeldBackError: with the reason of whoever holds it back.
    """
    why = seams.what_holds_back(Gated.CUT_OVER, identity, now)
    if why is not None:
        raise _refusal(why, identity, "is not cut over yet")


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


def _refusal(why: str, identity: ManagedIdentity, what: str) -> HeldBackError:
    return HeldBackError(f"{identity.authoritative_identifier} {what}: {why.removesuffix('.')}.")
