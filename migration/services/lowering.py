"""Going back from Profile 3 to Profile 2, where a family can.

2.0.1 stations drop lower profiles after success, and 1.6 ones refuse to lower theirs, unless their family says so.
Elsewhere the answer is renewal or recovery on Profile 3.
"""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from bfcerts.ocpp import canonical, outbox
from bfcerts.ocpp.canonical import Action, CommandOutcome, ResetKind
from inventory import seams
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.errors import TransitionRefusedError
from inventory.jobs import setbacks
from inventory.purposes import CHARGER_IDENTITY
from inventory.services import absences, caps, policies
from inventory.services.locking import lock_identity
from migration.models import AuthorizationKey, MigrationCase, Wave
from migration.services import cases, returning
from migration.services.returning import PROFILE_2, PROFILE_2_SLOT
from migration.states import CaseState, ReasonCode, Stage, WaveState

logger = logging.getLogger(__name__)

MIGRATION = Actor.system("migration")
BATCH = 100
LOOK_AGAIN = timedelta(seconds=30)
COMMAND_LIFETIME = timedelta(hours=1)
S = CaseState


def _step(name: str) -> tuple[Action, Mapping[str, Any]]:
    """What is asked of a station at a step; the protocol versions leave out what they have not."""
    match name:
        case "profile":
            url = settings.CONFIGURATION.profile2_url or ""
            return Action.SET_NETWORK_PROFILE, canonical.set_network_profile(
                PROFILE_2_SLOT, PROFILE_2, url, may_lower=True
            )
        case "priority":
            return Action.SET_NETWORK_PRIORITY, canonical.set_network_priority([PROFILE_2_SLOT])
        case "security":
            return Action.SET_SECURITY_PROFILE, canonical.set_security_profile(PROFILE_2, may_lower=True)
    return Action.RESET, canonical.reset(ResetKind.APPLY_CONFIGURATION)


STEPS = ("profile", "priority", "security", "reset")


def why_it_cannot(case: MigrationCase) -> str:
    """Why an active charger cannot go back to Profile 2; empty where it can."""
    identity = case.identity
    who = identity.authoritative_identifier
    if identity.family is None or not identity.family.can_lower_profile:
        return (
            f"{who} stays on Profile 3: its family {identity.family or 'is unknown and'} cannot lower its profile. "
            "Renew its certificate, or open a narrow door."
        )
    if settings.CONFIGURATION.profile2_url is None:
        return f"{who} stays on Profile 3: no listener takes passwords. Switch one on first."
    keys = AuthorizationKey.objects.filter(identity_id=identity.pk, state__in=AuthorizationKey.ACCEPTED_STATES)
    if not keys.exists():
        return f"{who} stays on Profile 3: it has no AuthorizationKey to come back with. Set one first."
    return ""


def lower(case: MigrationCase, why: str, now: datetime) -> None:
    """active → rollback: tell a charger to go back to Profile 2. Its certificate goes on working all the time.

    :raises TransitionRefusedError: when its family cannot, it has no key, or its site has no free place.
    """
    identity = case.identity
    obstacle = why_it_cannot(case)
    if obstacle:
        raise TransitionRefusedError(obstacle)
    policy = policies.resolve(identity, CHARGER_IDENTITY.key).policy
    deadline = now + policy.cut_over_deadline
    place = cases.absence_of(case)
    if not caps.take(identity, place, deadline + caps.TAKEN_AT_THE_LAST_MOMENT, now):
        raise TransitionRefusedError(
            f"{identity.authoritative_identifier} cannot go back now: {absences.why_not(identity, place, now)}. Try "
            "again when that has changed."
        )
    _keep_the_door_open(case, now + policy.rollback_window)
    seams.watch_connections(identity, deadline)
    cases.rolling_back(case, ReasonCode.WENT_BACK, why, now, deadline=deadline, stage=Stage.LOWERING, failed=False)
    _ask(case, STEPS[0], now)


def _keep_the_door_open(case: MigrationCase, until: datetime) -> None:
    identity = case.identity
    if identity.fallback_until is None or identity.fallback_until < until:
        identity.fallback_until = until
        identity.save()


def _ask(case: MigrationCase, name: str, now: datetime) -> None:
    action, payload = _step(name)
    reference = f"migration:{case.pk}:lower-{name}"
    outbox.enqueue(
        station_id=case.identity.authoritative_identifier,
        action=action,
        payload=dict(payload),
        dedupe_key=f"{reference}:{case.entered_state_at.isoformat()}",
        now=now,
        # Not sent any more when its time, and its place of the site with it, is over.
        expires_after=min(COMMAND_LIFETIME, case.deadline - now) if case.deadline is not None else COMMAND_LIFETIME,
        reference=reference,
    )


def answered(answer: seams.CommandAnswer) -> None:
    """A charger answered a step of its way back; what it says about a preference matters to nobody."""
    case_id, _, step = answer.reference.partition(":")
    name = step.removeprefix("lower-")
    if not case_id.isdigit() or step == name or name not in STEPS:
        return
    identity_id = MigrationCase.objects.filter(pk=int(case_id)).values_list("identity_id", flat=True).first()
    if identity_id is None:
        return
    said = f"Answer to {answer.command.action}: {answer.detail or answer.outcome}"
    with transaction.atomic(), attributed(Actor.station(answer.command.station_id), said):
        case = cases.lock_case(lock_identity(identity_id), int(case_id))
        if case.state != S.ROLLBACK or case.stage != Stage.LOWERING:
            return
        if case.deadline is not None and case.deadline <= answer.at:
            return
        if answer.outcome == CommandOutcome.ACCEPTED:
            following = STEPS.index(name) + 1
            if following < len(STEPS):
                _ask(case, STEPS[following], answer.at)
            return
        caps.give_back(case.identity, answer.at, cases.absence_of(case))
        who = case.identity.authoritative_identifier
        why = f"{who} did not take the way back to Profile 2 ({name}): {answer.detail or answer.outcome}"
        cases.quarantined(case, ReasonCode.STAYS_ON_PROFILE_3, why, answer.at)


def still_on_profile_3(case: MigrationCase, now: datetime) -> None:
    """It came in on Profile 3 once more before it went: the door to Profile 2 stays open for it."""
    policy = policies.resolve(case.identity, CHARGER_IDENTITY.key).policy
    _keep_the_door_open(case, now + policy.rollback_window)


def lowered(case: MigrationCase, now: datetime) -> None:
    """rollback → pending: it is back on Profile 2, and that is its profile again."""
    identity = case.identity
    identity.security_profile, identity.fallback_until = PROFILE_2, None
    identity.save()
    caps.give_back(identity, now, cases.absence_of(case))
    cases.back(case, now, look_again_at=now)
    why = f"{identity.authoritative_identifier} went back to Profile 2: {case.last_failure}"
    cases.say(case, ReasonCode.WENT_BACK, why, look_again_at=now)


# -- whole waves -------------------------------------------------------------------------------------------------------


def roll_back_waves(now: datetime) -> int:
    """Take the chargers of rolled-back waves back: those on the way, and the active ones whose family can.

    :returns: how many.
    """
    done = 0
    due = setbacks.without(on_the_way_back().filter(next_look_at__lte=now), "migration-roll-back", now)
    for case_id, identity_id in list(due.order_by("next_look_at").values_list("pk", "identity_id")[:BATCH]):
        step = partial(_roll_back, case_id, identity_id, now)
        done += setbacks.apart("migration-roll-back", case_id, now, step, identity_id=identity_id) or False
    return done


def on_the_way_back() -> QuerySet[MigrationCase]:
    """The chargers of rolled-back waves that have not yet been told."""
    return MigrationCase.objects.filter(wave__state=WaveState.ROLLED_BACK).filter(
        Q(state__in=[S.INSTALLING, S.PENDING_ACTIVATION]) | Q(state=S.ACTIVE, identity__family__can_lower_profile=True)
    )


def _roll_back(case_id: int, identity_id: int, now: datetime) -> bool:
    with transaction.atomic(), attributed(MIGRATION, "Its wave is rolled back"):
        identity = lock_identity(identity_id)
        case = cases.lock_case(identity, case_id)
        why = f"{case.wave} was rolled back."
        if case.state == S.ACTIVE:
            lower(case, why, now)
        elif case.state in (S.INSTALLING, S.PENDING_ACTIVATION):
            returning.bring_back(case, ReasonCode.WENT_BACK, why, now, failed=False)
        else:
            return False
    return True


def would_go_back(wave: Wave) -> QuerySet[MigrationCase]:
    """The chargers of a wave that a roll-back takes to Profile 2: those on the way, and the active ones that can."""
    members = MigrationCase.objects.filter(wave=wave).select_related("identity__family")
    return members.filter(
        Q(state__in=[S.INSTALLING, S.PENDING_ACTIVATION]) | Q(state=S.ACTIVE, identity__family__can_lower_profile=True)
    )


def cannot_go_back(wave: Wave) -> QuerySet[MigrationCase]:
    """The active chargers of a wave whose family cannot lower its profile; they are listed and stay."""
    active = MigrationCase.objects.filter(wave=wave, state=S.ACTIVE).select_related("identity__family")
    return active.exclude(identity__family__can_lower_profile=True)
