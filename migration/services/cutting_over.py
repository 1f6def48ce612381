"""Cutting over chargers that have their certificates: a few at a time, judged and sent under the locks of theirs.

What has to be known of a charger before it may leave is asked about all of them at once, so that a wave costs a few
queries for each round and not for each charger. One that cannot be judged or sent keeps no other waiting.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import uuid4

from django.db import transaction
from django.db.models import Q

from inventory import seams
from inventory.actors import Actor
from inventory.audit import attributed, save_all
from inventory.choices import RecordState
from inventory.jobs import setbacks
from inventory.models import CertificateRecord, LifecyclePolicy, ManagedIdentity
from inventory.purposes import CHARGER_IDENTITY
from inventory.services import absences, caps, policies, station_commands
from inventory.services.locking import lock_identities
from migration.models import MigrationCase
from migration.services import arrivals, cases, forecast, holding, key_delivery, returning, windows
from migration.services.holding import Hold
from migration.services.readiness import Check
from migration.services.windows import Calendar
from migration.states import CaseState, ReasonCode, Stage

logger = logging.getLogger(__name__)

MIGRATION = Actor.system("migration")
WHY = "Its certificate is installed: it is cut over to Profile 3"
WORK = "migration-cut-over"
BATCH = 200
"""Chargers looked at in one round."""
TOGETHER = 25
"""Chargers of one transaction: so few that nobody waits long for a lock of theirs."""
LOOK_AGAIN = timedelta(seconds=15)
S = CaseState


def usable_records(identities: Sequence[ManagedIdentity], now: datetime) -> dict[int, CertificateRecord]:
    """The certificates that chargers can come back with on Profile 3, by identity, of those that have installed one."""
    usable = CertificateRecord.objects.filter(identity__in=identities, purpose=CHARGER_IDENTITY.key, slot="").usable_at(
        now
    )
    installed = usable.filter(state__in=[RecordState.ACTIVE, RecordState.INSTALLED_PENDING_ACTIVATION])
    in_time = installed.filter(Q(confirm_by__isnull=True) | Q(confirm_by__gt=now) | Q(state=RecordState.ACTIVE))
    return {record.identity_id: record for record in in_time.order_by("pk")}


def cut_over_the_ready(now: datetime) -> int:
    """Cut over the chargers that have their certificate, as the caps of their sites and the windows allow.

    :returns: how many.
    """
    due = MigrationCase.objects.filter(state=S.INSTALLING, stage=Stage.READY, next_look_at__lte=now)
    due = setbacks.without(due, WORK, now).order_by("next_look_at")
    found = dict(due.values_list("identity_id", "pk")[:BATCH])
    waiting = list(found)
    done = 0
    for start in range(0, len(waiting), TOGETHER):
        done += _at_once({pk: found[pk] for pk in waiting[start : start + TOGETHER]}, now)
    return done


def _at_once(found: Mapping[int, int], now: datetime) -> int:
    try:
        return _cut_over(found, now)
    except Exception:  # whatever it is: one by one it is found, and that charger set aside
        logger.info("%s chargers are cut over one by one, as it failed for one of them", len(found), exc_info=True)
    done = 0
    for identity_id, case_id in found.items():
        alone = partial(_cut_over, {identity_id: case_id}, now)
        done += setbacks.apart(WORK, case_id, now, alone, identity_id=identity_id) or 0
    return done


def _cut_over(found: Mapping[int, int], now: datetime) -> int:
    """
    :param found: cases by their identities.
    """
    with transaction.atomic(), attributed(MIGRATION, WHY):
        identities = lock_identities(found)
        ready = [case for case in cases.lock_cases(identities, found.values()) if _is_ready(case)]
        records = usable_records([case.identity for case in ready], now)
        moved = [case for case in ready if _moved_on(case, records.get(case.identity_id), now)]
        # Places of a site are taken under its lock: sites in one order, and who has waited longest before the others.
        waiting = sorted(
            (case for case in ready if case not in moved), key=lambda case: (case.site, case.next_look_at, case.pk)
        )
        if not waiting:
            return len(moved)
        known = _Known.of(waiting, now)
        leaving = [case for case in waiting if _may_leave(case, known, now)]
        _send(leaving, records, known, now)
        return len(moved) + len(leaving)


def _is_ready(case: MigrationCase) -> bool:
    return case.state == S.INSTALLING and case.stage == Stage.READY


def _moved_on(case: MigrationCase, record: CertificateRecord | None, now: datetime) -> bool:
    """Whether something has happened to a charger that makes a cut-over pointless; its case then says so."""
    with attributed(MIGRATION, WHY, uuid4().hex):
        if record is None:
            why = "The certificate that it had installed no longer opens the door."
            returning.bring_back(case, ReasonCode.CERTIFICATE_LOST, why, now)
        elif arrivals.is_on_profile_3(case.identity, record):
            arrivals.arrived(case, record, now)
        elif changed := holding.family_change(case):
            returning.bring_back(case, ReasonCode.FAMILY_CHANGED, changed, now)
        else:
            return False
    return True


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of chargers that want to leave, read at once, by identity."""

    failing: Mapping[int, Check]
    calendar: Calendar
    against: Mapping[int, str]
    """The evidence that one could not come back."""
    held_back: Mapping[int, str]
    policies: Mapping[int, LifecyclePolicy]
    connected: Collection[str]

    @classmethod
    def of(cls, waiting: Sequence[MigrationCase], now: datetime) -> "_Known":
        identities = [case.identity for case in waiting]
        return cls(
            failing=holding.not_ready_for_cut_over(identities, now),
            calendar=windows.calendar_of(sorted({case.site for case in waiting}), now),
            against=_foreseen(waiting, now),
            held_back=seams.what_holds_each_back(seams.Gated.CUT_OVER, identities, now),
            policies={
                pk: resolved.policy for pk, resolved in policies.resolve_each(identities, CHARGER_IDENTITY.key).items()
            },
            connected=key_delivery.connected_of(identities),
        )


def _foreseen(waiting: Sequence[MigrationCase], now: datetime) -> dict[int, str]:
    """The evidence against them. Where somebody has overridden the forecast, that nothing is known is none to keep."""
    found: dict[int, list[str]] = {}
    for overridden in (False, True):
        identities = [case.identity for case in waiting if _overrides_forecast(case) == overridden]
        change = forecast.CutOver(identities, unknown_is_no_evidence=overridden)
        for item in forecast.predict(change, now) if identities else ():
            found.setdefault(item.identity.pk, []).append(item.sentence)
    return {pk: "; ".join(sentences) for pk, sentences in found.items()}


def _overrides_forecast(case: MigrationCase) -> bool:
    return case.wave is not None and case.wave.rollout.overrides_forecast


def _may_leave(case: MigrationCase, known: _Known, now: datetime) -> bool:
    obstacle = _obstacle(case, known, now)
    if obstacle is None:
        return True
    cases.say(case, obstacle.code, obstacle.why, look_again_at=obstacle.look_again_at)
    return False


def _obstacle(case: MigrationCase, known: _Known, now: datetime) -> Hold | None:
    """What keeps a charger that has its certificate from leaving now: it waits, and nothing counts against it."""
    identity = case.identity
    failing = known.failing.get(identity.pk)
    if failing is not None:
        return Hold(failing.code, failing.sentence, now + LOOK_AGAIN)
    closed = known.calendar.closed(case.site, now)
    if closed is not None:
        return Hold(ReasonCode.WINDOW_CLOSED, closed.why, closed.look_again_at)
    against = known.against.get(identity.pk)
    if against and not _overrides_forecast(case):
        return Hold(ReasonCode.WOULD_BE_LOCKED_OUT, f"{against}.", now + LOOK_AGAIN)
    held_back = known.held_back.get(identity.pk)
    if held_back is not None:
        return Hold(ReasonCode.ANCHORS_MISSING, held_back, now + LOOK_AGAIN)
    # One that is away takes no place by waiting: it is told the beginning, and takes one before it is told to leave.
    until = now + known.policies[identity.pk].cut_over_deadline
    place = cases.absence_of(case)
    if identity.authoritative_identifier in known.connected and not caps.take(identity, place, until, now):
        why = f"{identity.authoritative_identifier} waits for a free place: {absences.why_not(identity, place, now)}."
        return Hold(ReasonCode.SITE_FULL, why, now + LOOK_AGAIN)
    return None


def _send(
    leaving: Sequence[MigrationCase], records: Mapping[int, CertificateRecord], known: _Known, now: datetime
) -> None:
    if not leaving:
        return
    identities = [case.identity for case in leaving]
    own = {identity.pk: uuid4().hex for identity in identities}
    for identity in identities:
        identity.fallback_until = now + known.policies[identity.pk].rollback_window
    save_all(identities, fields=("fallback_until", "updated_at"), correlation_ids=list(own.values()))
    deadlines = {case: now + known.policies[case.identity_id].cut_over_deadline for case in leaving}
    seams.watch_connections_of_each({case.identity: deadline for case, deadline in deadlines.items()})
    with attributed(MIGRATION, "Its wave moves it to Profile 3"):
        jobs = station_commands.begin_cut_overs(
            identities,
            against=known.against,
            places={case.identity_id: cases.absence_of(case) for case in leaving},
            correlation_ids=own,
            now=now,
        )
    for case in leaving:
        case.record, case.cut_over_job = records[case.identity_id], jobs[case.identity_id]
    cases.cutting_over_each(deadlines, now, correlation_ids=own)
