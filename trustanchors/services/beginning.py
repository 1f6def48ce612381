"""Beginning endpoints: those whose turn has come, canaries first, and those that somebody wants begun anew."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from bfcerts.ocpp.models import StationSession
from inventory.audit import attributed
from inventory.jobs import setbacks
from inventory.jobs.periodic import duty
from inventory.models.cohort import containing
from inventory.services import rate_limits
from inventory.words import counted
from trustanchors.choices import (
    FAILED_STATES,
    STANDING_STATES,
    UNFINISHED_STATES,
    BundleState,
    InstallationState,
    RolloutState,
)
from trustanchors.models import BundleInstallation, BundleRollout, RolloutFamily, TrustAnchorBundle
from trustanchors.services import bundles as bundle_service
from trustanchors.services import coverage, installations, stepping
from trustanchors.services.apart import MANAGER, SLICE, each
from trustanchors.services.judging import Judge
from trustanchors.services.membership import group_of
from trustanchors.services.releasing import lock_rollout

_S = InstallationState


@duty("anchors-begin", timedelta(seconds=5))
def begin_due(now: datetime) -> None:
    """Begin chargers of running rollouts: the canary of each family first, then others within rate and concurrency."""
    running = BundleRollout.objects.filter(state=RolloutState.RUNNING, replaced_at=None)
    for rollout in setbacks.without(running, "anchors-rollout", now).order_by("pk"):
        setbacks.apart("anchors-rollout", rollout.pk, now, partial(_begin_and_finish, rollout, now))


def _begin_and_finish(rollout: BundleRollout, now: datetime) -> None:
    free = rollout.concurrency - rollout.installations.filter(deadline__isnull=False).count()
    for group in rollout.families.select_related("family").order_by("pk"):
        free -= _begin_of(rollout, group, free, now)
    if rollout.retry_asked_at is None:
        _finish(rollout, now)


def _waiting(group: RolloutFamily, now: datetime) -> "QuerySet[BundleInstallation]":
    waiting = group.installations.filter(state=_S.INTENDED, deadline=None, current=True)
    return setbacks.without(waiting, "anchors-begin", now)


def _has_canary(group: RolloutFamily) -> bool:
    return group.installations.filter(canary=True, current=True).exists()


def _begin_of(rollout: BundleRollout, group: RolloutFamily, free: int, now: datetime) -> int:
    """Begin what may be begun of one family.

    :returns: how many.
    """
    if free <= 0 or group.stopped:
        return 0
    if group.proven_at is not None:
        chosen, canary = list(_waiting(group, now).order_by("pk").values_list("pk", flat=True)[:free]), False
    elif _has_canary(group):
        return 0
    else:
        chosen, canary = _canary_of(group, now), True
    begun = 0
    for pk in chosen:
        per_second = rollout.rate_per_minute / 60
        burst = max(1.0, rollout.rate_per_minute / 6)
        name = f"anchors:{rollout.pk}"
        if rate_limits.take(name, per_second=per_second, burst=burst, now=now) is not None:
            break
        begun += each(
            "anchors-begin",
            BundleInstallation.objects.filter(pk=pk),
            "Its turn in the rollout has come",
            partial(_begin, canary=canary, now=now),
            now,
        )
    return begun


def _canary_of(group: RolloutFamily, now: datetime) -> list[int]:
    """The first of a family: one that is connected, where there is any."""
    connected = StationSession.objects.filter(
        station_id=OuterRef("identity__authoritative_identifier"), closed_at__isnull=True
    )
    waiting = _waiting(group, now).filter(identity__enabled=True)
    first = waiting.filter(Exists(connected)).order_by("pk").first() or waiting.order_by("pk").first()
    return [first.pk] if first else []


def _begin(installation: BundleInstallation, canary: bool, now: datetime) -> None:
    rollout, identity = installation.rollout, installation.identity
    begun = installation.deadline is not None or installation.state != _S.INTENDED or not installation.current
    if begun or rollout.state != RolloutState.RUNNING or rollout.replaced_at is not None:
        return
    if not identity.enabled or not containing(identity, [rollout.cohort]):
        who = identity.authoritative_identifier
        why = f"{who} was disabled" if not identity.enabled else f"{who} left {rollout.cohort}"
        installations.withdrawn(installation, f"{why} before anything was sent to it.", now)
        return
    if identity.family_id != installation.group.family_id:
        # Its family changed since it was taken in: it counts, and waits for a canary, with those that it is like now.
        installation.group = group_of(rollout, identity)
        installation.save()
        return
    (judgement,) = Judge([rollout.bundle]).judge([identity])
    covered_soon = judgement.code == "not_covered" and _is_covered_soon(rollout, judgement.missing)
    if judgement.code and not covered_soon:
        installations.failed(installation, judgement.code, judgement.reason, now)
        return
    stepping.begin(installation, canary=canary, now=now)


def _is_covered_soon(rollout: BundleRollout, missing: Sequence[coverage.NeededRoot]) -> bool:
    """Bundles that were released together: the other one has not reached this charger yet, but its cohort has it.

    The order of installation closes with the root of the present server chain in any case.
    """
    others = BundleRollout.objects.filter(cohort=rollout.cohort, replaced_at=None, state__in=STANDING_STATES).exclude(
        purpose=rollout.purpose
    )
    covered = coverage.fingerprints_of(TrustAnchorBundle.objects.filter(rollouts__in=others))
    return all(root.fingerprint in covered for root in missing)


def _finish(rollout: BundleRollout, now: datetime) -> None:
    """End a rollout that has nothing left to do, or nothing that may be done."""
    unfinished = rollout.installations.filter(Q(state__in=UNFINISHED_STATES) | Q(deadline__isnull=False))
    blocked = []
    for group in rollout.families.select_related("family"):
        mine = unfinished.filter(group=group)
        if not mine.exists():
            continue
        if mine.filter(deadline__isnull=False).exists():
            return
        if group.stopped:
            blocked.append(f"{group} is stopped by {counted(group.failed, 'failure')}")
        elif group.proven_at is None and _has_canary(group):
            blocked.append(f"{group} waits for its canary. {group.halted_by}".rstrip(". "))
        else:
            return
    with attributed(MANAGER, "Nothing is left to do"), transaction.atomic():
        locked = lock_rollout(rollout.pk)
        if locked.state != RolloutState.RUNNING or locked.replaced_at is not None:
            return
        if locked.gate_open:
            locked.completed_at = now
            locked.outcome = _sentence(locked, blocked)
            locked.complete()
        else:
            locked.outcome = (
                f"The threshold of {locked.threshold_percent} % cannot be reached: {_sentence(locked, blocked)} Retry "
                "what failed, or go back to the former version."
            )
            locked.stop()
        locked.save()
    _supersede(rollout)


def _sentence(rollout: BundleRollout, blocked: list[str]) -> str:
    counts = f"{rollout.confirmed} of {rollout.targets} confirmed, {rollout.failed} failed."
    return f"{counts} Not begun: {'; '.join(blocked)}." if blocked else counts


def _supersede(rollout: BundleRollout) -> None:
    """Older versions that stand nowhere any more are superseded."""
    older = TrustAnchorBundle.objects.filter(
        purpose=rollout.purpose, version__lt=rollout.bundle.version, state=BundleState.RELEASED
    )
    for bundle in older:
        with attributed(MANAGER, f"{rollout.bundle} stands in its place"), transaction.atomic():
            locked = bundle_service.lock(bundle.pk)
            standing = locked.rollouts.filter(replaced_at=None, state__in=STANDING_STATES)
            if locked.state == BundleState.RELEASED and not standing.exists():
                locked.supersede()
                locked.save()


# -- trying again ----------------------------------------------------------------------------------------------------


@duty("anchors-retry", timedelta(seconds=10))
def begin_anew(now: datetime) -> None:
    """Begin anew what somebody asked for, endpoint by endpoint."""
    wanted = BundleInstallation.objects.filter(retry_asked_at__isnull=False, current=True)
    rollouts = set(wanted.values_list("rollout_id", flat=True))
    anew = partial(_anew, now=now)
    each("anchors-retry", wanted, "Somebody asked for it", anew, now, due="retry_asked_at")
    for rollout_id in sorted(rollouts):
        _wake_up(rollout_id)
    for rollout in BundleRollout.objects.filter(retry_asked_at__isnull=False).order_by("pk"):
        begun_before = Q(started_at=None) | Q(started_at__lte=rollout.retry_asked_at)
        failed = rollout.installations.filter(begun_before, state__in=FAILED_STATES, current=True)
        why = "Somebody asked for everything that failed"
        looked_at = each("anchors-retry", failed, why, anew, now)
        if looked_at < SLICE and not setbacks.aside(failed, "anchors-retry", now).exists():
            BundleRollout.objects.filter(pk=rollout.pk, retry_asked_at=rollout.retry_asked_at).update(
                retry_asked_at=None
            )


def _anew(installation: BundleInstallation, now: datetime) -> None:
    rollout = installation.rollout
    if installation.state in FAILED_STATES and installation.current and rollout.is_standing:
        installations.stop_asking(installation, now)
        installations.begun_anew(installation, "Begun anew.")
    elif installation.retry_asked_at is not None:
        installation.retry_asked_at = None
        installation.save()


def _wake_up(rollout_id: int) -> None:
    with attributed(MANAGER, "Something of it was begun anew"), transaction.atomic():
        locked = lock_rollout(rollout_id)
        if locked.is_standing and locked.state in (RolloutState.COMPLETE, RolloutState.STOPPED):
            locked.run()
            locked.outcome = ""
            locked.save()
