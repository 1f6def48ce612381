"""Rotating the AuthorizationKeys of many, as a plan: only families whose key path is approved, each in its turn.

The plan starts its targets at its rate; each then waits until its charger is connected and its family, site and region
have room. So one busy site holds nobody else up, and pausing the plan holds all of them. A family in which too many
fail is stopped alone.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from bfcerts.ocpp.models import StationSession
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import KeyPath, PlanRun, SubjectKind, TargetOutcome
from inventory.errors import InventoryError
from inventory.jobs import setbacks
from inventory.jobs.periodic import duty
from inventory.models import ManagedIdentity, Plan, PlanTarget
from inventory.services import policies
from inventory.services.locking import lock_identity
from inventory.services.plans import expecting, running, selection
from inventory.services.plans.comparing import departures_of, left_out
from inventory.services.plans.expecting import Expected, at_rate, in_turns
from inventory.services.plans.kinds import Field, PlanCounts, Started, Verdict, excluded, included
from inventory.services.plans.selection import gather
from migration.key_choices import ACCEPTED_KEY_STATES, OPEN_STAGES, DeliveryChannel, KeyState
from migration.models import AuthorizationKey, KeyRotation, MigrationCase, RotationTurn
from migration.services import rotation, rotation_need
from migration.states import CaseState

KIND: Final = "key_rotation"
BATCH: Final = 200
AWAY: Final = timedelta(minutes=1)
"""How long a charger is assumed to be away to come back with its new key."""
_NUMBERS: Final = {
    "per_minute": (60, 1, 10_000),
    "per_family": (50, 1, 10_000),
    "per_site": (2, 1, 1_000),
    "per_region": (100, 1, 10_000),
    "most_failures": (3, 1, 10_000),
}
"""Default, least and most of each limit."""


class BulkRotation:
    """Give many chargers a new AuthorizationKey."""

    key = KIND
    label = "Rotation of many AuthorizationKeys"
    permission = "migration.rotate_authorizationkey"
    fields: Sequence[Field] = (
        *selection.FIELDS,
        Field("only_needed", "Only who needs it", "“no” rotates all of them.", default="yes"),
        Field("per_minute", "Starts in a minute", default="60"),
        Field("per_family", "Under way at once in a family", default="50"),
        Field("per_site", "Under way at once at a site", default="2"),
        Field("per_region", "Under way at once in a region", default="100"),
        Field("most_failures", "Failures that stop a family", default="3"),
    )
    words: Mapping[str, str] = {
        "rotate": "rotate key",
        "not_needed": "does not need it",
        "family_unknown": "family unknown",
        "key_path_unapproved": "key path not approved",
        "cannot_now": "cannot be rotated now",
        "under_way": "in another plan",
        "in_quarantine": "in quarantine",
    }

    def validate(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wrong: dict[str, str] = {}
        gather(wrong, partial(selection.refuse_unknown, parameters, "only_needed", *_NUMBERS))
        chosen = gather(wrong, partial(selection.validate, parameters)) or {}
        only_needed = gather(wrong, partial(selection.text, parameters, "only_needed", "yes")) or ""
        numbers = {
            name: gather(wrong, partial(selection.number, parameters, name, *bounds))
            for name, bounds in _NUMBERS.items()
        }
        selection.refuse(wrong)
        return {**chosen, "only_needed": only_needed.lower() not in ("no", "false"), **numbers}

    def candidates(self, parameters: Mapping[str, Any]) -> QuerySet[ManagedIdentity]:
        return selection.identities(parameters).filter(kind=SubjectKind.CHARGER)

    def judge(
        self, parameters: Mapping[str, Any], identities: Sequence[ManagedIdentity], now: datetime
    ) -> list[Verdict]:
        return self._judge(parameters, identities, now, None)

    def departures(self, plan: Plan, targets: Sequence[PlanTarget], now: datetime) -> list[str]:
        return departures_of(self, plan, targets, now, partial(self._judge, own=plan.pk))

    def _judge(
        self, parameters: Mapping[str, Any], identities: Sequence[ManagedIdentity], now: datetime, own: int | None
    ) -> list[Verdict]:
        """
        :param own: the plan that is at it, so that neither it nor a later one is another that is to rotate them.
        """
        needs = rotation_need.needs_of(identities, now) if parameters["only_needed"] else None
        keys: dict[int, list[AuthorizationKey]] = {}
        for key in AuthorizationKey.objects.filter(identity__in=identities, state__in=ACCEPTED_KEY_STATES):
            keys.setdefault(key.identity_id, []).append(key)
        elsewhere = _under_way_elsewhere(identities, own)
        quarantined = _in_quarantine(identities)
        return [
            quarantined.get(identity.pk)
            or self._verdict(identity, keys.get(identity.pk, []), needs, elsewhere.get(identity.pk), now)
            for identity in identities
        ]

    def _verdict(
        self,
        identity: ManagedIdentity,
        keys: list[AuthorizationKey],
        needs: Mapping[int, rotation_need.Need] | None,
        elsewhere: int | None,
        now: datetime,
    ) -> Verdict:
        who, family = identity.authoritative_identifier, identity.family
        if needs is not None and identity.pk not in needs:
            return excluded(
                "not_needed", f"The AuthorizationKey of {who} was made here, and nothing speaks against it."
            )
        if elsewhere is not None:
            return excluded(
                "under_way",
                f"Plan {elsewhere} is to rotate the key of {who} already: wait until it has, or stop that plan.",
            )
        obstacle = rotation.why_not(identity, keys, now)
        if obstacle is not None:
            return excluded("cannot_now", obstacle)
        if family is None:
            return excluded("family_unknown", f"The family of {who} is unknown, so nobody knows how it takes a key.")
        if family.key_path == KeyPath.UNAPPROVED:
            return excluded(
                "key_path_unapproved",
                f"The key path of {family} is not approved: rotate one of its chargers, then approve it.",
            )
        present = next(key for key in keys if key.state == KeyState.ACTIVE)
        return included(f"rotate:{present.version}")

    def expected(self, plan: Plan, counts: PlanCounts, now: datetime) -> Expected:
        limits, families = plan.parameters, expecting.families_of(plan)
        seen = expecting.absences("key", expecting.at_most_by_policy("authorization_key", AWAY), now)
        away = seen.typical(families)
        largest, of_family = max((number for _, number in families), default=0), limits["per_family"]
        bounds = [
            at_rate(counts.included, limits["per_minute"] / 60, f"their starts, {limits['per_minute']:,} a minute"),
            in_turns(largest, of_family, away, f"the {of_family:,} of a family that are under way at once"),
            expecting.of_sites(plan, away, limits["per_site"]),
        ]
        return expecting.expected(bounds, expecting.for_one(away, seen, "to come back with its new key"))

    def apply(self, plan: Plan, actor: Actor, reason: str, now: datetime) -> None:
        running.begin(plan)

    def per_minute(self, parameters: Mapping[str, Any]) -> float | None:
        return float(parameters["per_minute"])

    def start(self, plan: Plan, target: PlanTarget, actor: Actor, now: datetime) -> Started:
        identity = target.identity
        if identity.family_id is None:
            return Started(TargetOutcome.SKIPPED, "The family of the charger is unknown by now.")
        policy = policies.resolve(identity, "authorization_key").policy
        RotationTurn.objects.create(
            target=target,
            plan=plan,
            identity=identity,
            family_id=identity.family_id,
            site=identity.site,
            region=identity.region,
            give_up_at=now + policy.delivery_deadline,
        )
        return Started(TargetOutcome.STARTED, "The charger waits for its turn.")


# -- turns -----------------------------------------------------------------------------------------------------------


@duty("authorization-key-turns", timedelta(seconds=5))
def take_turns(now: datetime) -> int:
    """Begin the rotations whose turn it is.

    :returns: how many were begun.
    """
    _drop_stopped()
    _give_up(now)
    begun = 0
    plans = Plan.objects.filter(kind=KIND, run=PlanRun.RUNNING, rotation_turns__isnull=False).distinct()
    for plan in setbacks.without(plans, "authorization-key-plans", now):
        begun += setbacks.apart("authorization-key-plans", plan.pk, now, partial(_begin_for, plan, now)) or 0
    return begun


def _begin_for(plan: Plan, now: datetime) -> int:
    limits, busy = plan.parameters, _under_way()
    begun = 0
    connected = StationSession.objects.filter(
        station_id=OuterRef("identity__authoritative_identifier"), closed_at__isnull=True
    )
    while True:
        turns = RotationTurn.objects.filter(Exists(connected), plan=plan).exclude(
            Q(family_id__in=_full(busy["family"], limits["per_family"]))
            | Q(site__in=_full(busy["site"], limits["per_site"]))
            | Q(region__in=_full(busy["region"], limits["per_region"]))
        )
        turns = setbacks.without(turns, "authorization-key-turns", now)
        batch = list(turns.order_by("pk")[:BATCH])
        for turn in batch:
            if _has_room(turn, busy, limits):
                step = partial(_begin, turn, plan, now)
                runs = setbacks.apart("authorization-key-turns", turn.pk, now, step, identity_id=turn.identity_id)
                if runs is None:
                    continue
                if not runs:
                    return begun
                busy["family"][turn.family_id] += 1
                busy["site"][turn.site] += 1
                busy["region"][turn.region] += 1
                begun += 1
        if len(batch) < BATCH:
            return begun


def _under_way() -> dict[str, Counter[Any]]:
    """Open rotations by family, site and region; one that is overdue waits for its charger alone and takes no room."""
    found: dict[str, Counter[Any]] = {"family": Counter(), "site": Counter(), "region": Counter()}
    rows = (
        KeyRotation.objects.filter(
            stage__in=OPEN_STAGES, channel=DeliveryChannel.OVER_THE_AIR, unconfirmed_at__isnull=True
        )
        .values_list("family_id", "key__identity__site", "key__identity__region")
        .annotate(count=Count("pk"))
    )
    for family, site, region, count in rows:
        found["family"][family] += count
        found["site"][site] += count
        found["region"][region] += count
    return found


def _full(busy: Counter[Any], most: int) -> list[Any]:
    """Where there is no room. Chargers that name no site or region are not together because of that."""
    return [where for where, count in busy.items() if where and count >= most]


def _has_room(turn: RotationTurn, busy: dict[str, Counter[Any]], limits: Mapping[str, Any]) -> bool:
    return (
        busy["family"][turn.family_id] < limits["per_family"]
        and (not turn.site or busy["site"][turn.site] < limits["per_site"])
        and (not turn.region or busy["region"][turn.region] < limits["per_region"])
    )


def _begin(turn: RotationTurn, plan: Plan, now: datetime) -> bool:
    """
    :returns: whether the plan still runs.
    """
    actor = plan.applier
    with transaction.atomic(), attributed(actor, plan.applied_reason, plan.correlation_id):
        identity = lock_identity(turn.identity_id)
        locked = RotationTurn.objects.select_for_update().filter(pk=turn.pk).first()
        if locked is None:
            return True
        if not running.still_runs(plan):
            return False
        outcome, detail = TargetOutcome.STARTED, ""
        if _too_many_failed(plan, turn):
            outcome = TargetOutcome.SKIPPED
            detail = "The family of the charger was stopped: too many of its chargers failed."
        elif departure := _departure(plan, turn, identity, now):
            outcome, detail = TargetOutcome.SKIPPED, left_out(departure)
        else:
            try:
                with transaction.atomic():
                    key = rotation.rotate(identity=identity, actor=actor, reason=plan.applied_reason, now=now)
                detail = f"Key {key.version} is on its way."
            except InventoryError as error:
                outcome, detail = TargetOutcome.FAILED, str(error)
        PlanTarget.objects.filter(pk=turn.target_id).update(outcome=outcome, detail=detail)
        locked.delete()
    return True


def _departure(plan: Plan, turn: RotationTurn, identity: ManagedIdentity, now: datetime) -> str:
    """How a charger whose turn it is, which may be days after the plan, is not as planned; empty where it still is."""
    target = PlanTarget.objects.get(pk=turn.target_id)
    target.identity = identity
    (departure,) = BulkRotation().departures(plan, [target], now)
    return departure


def _under_way_elsewhere(identities: Sequence[ManagedIdentity], own: int | None) -> dict[int, int]:
    """Which of these an applied plan is to rotate and has not begun to, with the id of that plan.

    :param own: the plan that asks; of two that were applied at the same time, the one that was made first is at it.
    """
    waiting = PlanTarget.objects.filter(
        identity__in=identities,
        plan__kind=KIND,
        plan__run__in=[PlanRun.RUNNING, PlanRun.PAUSED],
        included=True,
    ).filter(Q(outcome=TargetOutcome.WAITING) | Q(pk__in=RotationTurn.objects.values("target_id")))
    if own is not None:
        waiting = waiting.filter(plan_id__lt=own)
    return dict(waiting.values_list("identity_id", "plan_id"))


def _in_quarantine(identities: Sequence[ManagedIdentity]) -> dict[int, Verdict]:
    """Chargers whose access stays as it is, until a person has decided about them."""
    held = MigrationCase.objects.live().filter(identity__in=identities, state=CaseState.QUARANTINE)
    return {
        case.identity_id: excluded(
            "in_quarantine",
            f"{case.identity.authoritative_identifier} is in quarantine on its way to Profile 3: {case.why} Release it "
            "first, or rotate its key alone.",
        )
        for case in held.select_related("identity")
    }


def _too_many_failed(plan: Plan, turn: RotationTurn) -> bool:
    failed = PlanTarget.objects.filter(plan=plan, outcome=TargetOutcome.FAILED, identity__family_id=turn.family_id)
    return failed.count() >= int(plan.parameters["most_failures"])


def _give_up(now: datetime) -> None:
    """Chargers that were not connected in time are left as they are; silence is failure."""
    for turn in RotationTurn.objects.filter(give_up_at__lte=now).order_by("give_up_at")[:BATCH]:
        _end(
            turn,
            TargetOutcome.FAILED,
            "The charger was not connected, or its turn had not come, before its time was over.",
        )


def _drop_stopped() -> None:
    for turn in RotationTurn.objects.filter(plan__run=PlanRun.STOPPED).order_by("pk")[:BATCH]:
        _end(turn, TargetOutcome.SKIPPED, "The plan was stopped.")


def _end(turn: RotationTurn, outcome: TargetOutcome, detail: str) -> None:
    with transaction.atomic():
        locked = RotationTurn.objects.select_for_update(skip_locked=True).filter(pk=turn.pk).first()
        if locked is not None:
            PlanTarget.objects.filter(pk=turn.target_id).update(outcome=outcome, detail=detail)
            locked.delete()
