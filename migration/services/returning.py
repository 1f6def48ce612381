"""Bringing a charger back to Profile 2 with a key that works, trying again within its budget, and giving it up."""

from datetime import datetime, timedelta

from bfcerts.ocpp import canonical, outbox
from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.models import StationSession
from inventory import seams
from inventory.choices import JobAction, JobState
from inventory.errors import InventoryError
from inventory.jobs import engine
from inventory.models import CertificateJob, ManagedIdentity
from inventory.services import caps
from inventory.services.locking import lock_job_of
from migration.models import AuthorizationKey, MigrationCase
from migration.services import cases
from migration.states import ReasonCode, Stage, WaveState

PROFILE_2 = 2
PROFILE_2_SLOT = 1
RETURN_DEADLINE = timedelta(hours=24)
FIRST_PAUSE = timedelta(minutes=5)
PRIORITY_LIFETIME = timedelta(days=1)


def bring_back(case: MigrationCase, code: ReasonCode, why: str, now: datetime, *, failed: bool = True) -> None:
    """installing or pending_activation → rollback, and on from there where it is back already."""
    identity = case.identity
    wave = case.wave
    deadline = now + (wave.rollout.return_deadline if wave is not None else RETURN_DEADLINE)
    cases.rolling_back(case, code, why, now, deadline=deadline, failed=failed)
    end_jobs(case, why, now)
    seams.watch_connections(identity, deadline)
    session = StationSession.objects.filter(
        station_id=identity.authoritative_identifier, closed_at__isnull=True, security_profile__lte=PROFILE_2
    ).first()
    if session is not None and has_working_key(identity, now):
        came_back(case, now)
    elif case.cut_over_job_id is not None:
        # It is away, whether or not it was meant to be: no other of its site is sent away in its stead.
        caps.keep(identity, cases.absence_of(case), deadline)


def end_jobs(case: MigrationCase, why: str, now: datetime) -> None:
    """Withdraw what was asked and not yet sent. What a CA works on goes on, and its certificate is not forgotten."""
    for job_id in (case.cut_over_job_id, case.issue_job_id):
        if job_id is None:
            continue
        job = lock_job_of(case.identity, job_id)
        if job.is_open and (job.action == JobAction.CUT_OVER or _may_be_ended(job)):
            engine.finish(job, JobState.CANCELLED, f"Its migration goes back: {why}", now)


def _may_be_ended(job: CertificateJob) -> bool:
    from inventory.services.lifecycle import check_may_be_abandoned

    if job.record is not None:
        return False  # its delivery or its activation may still come, and is worth having
    try:
        check_may_be_abandoned(job)
    except InventoryError:
        return False
    return True


def has_working_key(identity: ManagedIdentity, now: datetime) -> bool:
    """Whether an AuthorizationKey opens the door for this charger on Profile 2 now."""
    barred = identity.security_profile > PROFILE_2 and (
        identity.fallback_until is None or identity.fallback_until <= now
    )
    keys = AuthorizationKey.objects.filter(identity_id=identity.pk, state__in=AuthorizationKey.ACCEPTED_STATES)
    return identity.enabled and not barred and keys.exists()


def came_back(case: MigrationCase, now: datetime) -> None:
    """It is back on Profile 2: try again while tries are left, else quarantine."""
    identity = case.identity
    caps.give_back(identity, now, cases.absence_of(case))
    if case.cut_over_job_id is not None:
        _prefer_profile_2(case, now)
    if case.wave is not None and case.wave.state == WaveState.ROLLED_BACK:
        cases.back(case, now, look_again_at=now)
        why = f"{identity.authoritative_identifier} is back on Profile 2: {case.last_failure}"
        cases.say(case, ReasonCode.WENT_BACK, why, look_again_at=now)
    elif case.tries_left > 0:
        cases.back(case, now, look_again_at=now + FIRST_PAUSE)
    else:
        cases.quarantined(case, ReasonCode(case.reason_code), f"{case.last_failure} No try is left.", now)


def _prefer_profile_2(case: MigrationCase, now: datetime) -> None:
    """A station that was told to try Profile 3 first would try it at every restart (OCPP 2.0.1 B10)."""
    outbox.enqueue(
        station_id=case.identity.authoritative_identifier,
        action=Action.SET_NETWORK_PRIORITY,
        payload=canonical.set_network_priority([PROFILE_2_SLOT]),
        dedupe_key=f"migration:{case.pk}:priority:{case.cut_over_job_id}",
        now=now,
        expires_after=PRIORITY_LIFETIME,
        reference=f"migration:{case.pk}:priority",
    )


def leave_alone(case: MigrationCase, why: str, now: datetime) -> None:
    """What automation still asked of a charger is withdrawn; one that is away keeps its place until it is seen."""
    end_jobs(case, why, now)
    caps.give_back_when_seen(case.identity, now, cases.absence_of(case))


def take_in_hand(case: MigrationCase, now: datetime) -> None:
    """A person has decided about a charger. If it is away, its site goes on without it, as long as another one that is
    connected stays (`caps`).
    """
    caps.give_back(case.identity, now, cases.absence_of(case))


def never_came(case: MigrationCase, now: datetime) -> None:
    """rollback → quarantine: the second deadline passed as well."""
    identity = case.identity
    who = identity.authoritative_identifier
    caps.give_back(identity, now, cases.absence_of(case))
    if case.stage == Stage.LOWERING:
        why = f"{who} was told to go back to Profile 2 and did not by {case.deadline:%Y-%m-%d %H:%M} UTC."
        cases.quarantined(case, ReasonCode.STAYS_ON_PROFILE_3, why, now)
        return
    why = f"{who} has not come back on Profile 2 by {case.deadline:%Y-%m-%d %H:%M} UTC. {case.last_failure}"
    cases.quarantined(case, ReasonCode.NEVER_RETURNED, why, now)
