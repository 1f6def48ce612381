"""The recurring duties: take in members, begin what is due, hold deadlines, ask again, and end what is withdrawn.

A duty locks one identity at a time and then its installation, in a transaction of its own; rows of a rollout as a
whole are locked only where no identity is.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from bfcerts.ocpp.models import StationSession
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.jobs import setbacks
from inventory.jobs.periodic import duty
from inventory.models import ManagedIdentity
from inventory.models.cohort import containing
from inventory.services import rate_limits
from trustanchors.choices import (
    CONFIRMED_STATES,
    FAILED_STATES,
    STANDING_STATES,
    UNFINISHED_STATES,
    BundleState,
    InstallationState,
    RolloutState,
    StepKind,
)
from trustanchors.models import BundleInstallation, BundleRollout, RolloutFamily, TrustAnchorBundle
from trustanchors.services import bundles as bundle_service
from trustanchors.services import canaries, coverage, installations, sequence, stepping
from trustanchors.services.judging import BATCH, NOT_A_TARGET, Judge
from trustanchors.services.releasing import lock_rollout

MANAGER = Actor.system("trust-anchors")
SLICE = 500
_S = InstallationState


def _each(
    name: str,
    found: "QuerySet[BundleInstallation]",
    why: str,
    work: Callable[[BundleInstallation], None],
    now: datetime,
    *,
    due: str = "pk",
) -> int:
    """Do something to each, in a transaction of its own; one that fails is set aside and keeps nobody else waiting.

    :param due: the column that says since when it is due: the longest due comes first.
    :returns: how many were looked at; less than `SLICE` means that no more are left.
    """
    waiting = setbacks.without(found, name, now).order_by(due, "pk")
    rows = list(waiting.values_list("pk", "identity_id")[:SLICE])
    for pk, identity_id in rows:

        def step(pk: int = pk) -> None:
            with attributed(MANAGER, why), transaction.atomic():
                locked = installations.lock(pk)
                if locked is not None:
                    work(locked)

        setbacks.apart(name, pk, now, step, identity_id=identity_id)
    return len(rows)


# -- members ---------------------------------------------------------------------------------------------------------


@duty("anchors-members", timedelta(seconds=15))
def take_in_members(now: datetime) -> None:
    """Give every member of a cohort its installation; then a planned rollout runs, and one that is complete goes on."""
    rollouts = BundleRollout.objects.filter(
        replaced_at=None, state__in=[RolloutState.PLANNED, RolloutState.RUNNING, RolloutState.COMPLETE]
    )
    rollouts = setbacks.without(rollouts, "anchors-members", now)
    for rollout in rollouts.select_related("bundle", "cohort").order_by("pk"):
        setbacks.apart("anchors-members", rollout.pk, now, partial(_take_in_and_run, rollout, now))


def _take_in_and_run(rollout: BundleRollout, now: datetime) -> None:
    added = _take_in(rollout, now)
    if rollout.state == RolloutState.PLANNED or (added and rollout.state == RolloutState.COMPLETE):
        _run(rollout, now)


def _newcomers(rollout: BundleRollout) -> "QuerySet[ManagedIdentity]":
    """Members that this rollout has not reached, and that no other standing one of the purpose has."""
    reached = BundleInstallation.objects.filter(identity=OuterRef("pk"), rollout=rollout)
    elsewhere = BundleInstallation.objects.filter(
        identity=OuterRef("pk"),
        purpose=rollout.purpose,
        current=True,
        rollout__replaced_at=None,
        rollout__state__in=STANDING_STATES,
    ).exclude(rollout=rollout)
    members = rollout.cohort.identities().filter(~Exists(reached))
    return members if rollout.state == RolloutState.PLANNED else members.filter(~Exists(elsewhere))


def _take_in(rollout: BundleRollout, now: datetime) -> int:
    judge, count, last = None, 0, 0
    while True:
        found = _newcomers(rollout).filter(pk__gt=last).select_related("family").order_by("pk")
        batch = list(found[:BATCH])
        if not batch:
            return count
        judge = judge or Judge([rollout.bundle])
        last = batch[-1].pk
        with attributed(MANAGER, f"Members of {rollout.cohort}"), transaction.atomic():
            count += _add(rollout, batch, judge, now)


def _add(rollout: BundleRollout, batch: list[ManagedIdentity], judge: Judge, now: datetime) -> int:
    groups: dict[int | None, RolloutFamily] = {group.family_id: group for group in rollout.families.all()}
    new = []
    for identity, judgement in zip(batch, judge.judge(batch), strict=True):
        if judgement.code in NOT_A_TARGET:
            continue
        if identity.family_id not in groups:
            groups[identity.family_id] = _group(rollout, identity)
        new.append(
            BundleInstallation(
                rollout=rollout,
                group=groups[identity.family_id],
                identity=identity,
                purpose=rollout.purpose,
                state=_S.FAILED if _hopeless(judgement.code) else _S.INTENDED,
                reason_code=judgement.code if _hopeless(judgement.code) else "",
                detail=judgement.reason if _hopeless(judgement.code) else "",
                updated_at=now,
            )
        )
    _replace_former(rollout, [installation.identity_id for installation in new], now)
    BundleInstallation.objects.bulk_create(new)
    return len(new)


def _hopeless(code: str) -> bool:
    """What is not covered now may be when its turn comes: bundles that are released together arrive one by one."""
    return bool(code) and code != "not_covered"


def _group(rollout: BundleRollout, identity: ManagedIdentity) -> RolloutFamily:
    group, _ = RolloutFamily.objects.get_or_create(
        rollout=rollout, family=identity.family, defaults={"failure_limit": rollout.failure_limit}
    )
    return group


def _replace_former(rollout: BundleRollout, identity_ids: list[int], now: datetime) -> None:
    """What these endpoints had is not current any more; what was under way there is broken off."""
    former = (
        BundleInstallation.objects.select_for_update(of=("self",))
        .select_related("rollout__bundle", "identity")
        .filter(identity_id__in=identity_ids, purpose=rollout.purpose, current=True)
        .order_by("pk")
    )
    for installation in former:
        if installation.state in UNFINISHED_STATES:
            installation.current = False
            installations.withdrawn(installation, f"Replaced by {rollout.bundle}.", now)
        else:
            installations.stop_asking(installation, now)
    BundleInstallation.objects.filter(identity_id__in=identity_ids, purpose=rollout.purpose, current=True).update(
        current=False, awaiting="", next_run_at=None, next_check_at=None, deadline=None
    )


def _run(rollout: BundleRollout, now: datetime) -> None:
    with attributed(MANAGER, "Its members are taken in"), transaction.atomic():
        locked = lock_rollout(rollout.pk)
        if locked.replaced_at is None and locked.state in (RolloutState.PLANNED, RolloutState.COMPLETE):
            locked.started_at = locked.started_at or now
            locked.run()
            locked.outcome = ""
            locked.save()


# -- trying again ----------------------------------------------------------------------------------------------------


@duty("anchors-retry", timedelta(seconds=10))
def begin_anew(now: datetime) -> None:
    """Begin anew what somebody asked for, endpoint by endpoint."""
    wanted = BundleInstallation.objects.filter(retry_asked_at__isnull=False, current=True)
    rollouts = set(wanted.values_list("rollout_id", flat=True))
    anew = partial(_anew, now=now)
    _each("anchors-retry", wanted, "Somebody asked for it", anew, now, due="retry_asked_at")
    for rollout_id in sorted(rollouts):
        _wake_up(rollout_id)
    for rollout in BundleRollout.objects.filter(retry_asked_at__isnull=False).order_by("pk"):
        begun_before = Q(started_at=None) | Q(started_at__lte=rollout.retry_asked_at)
        failed = rollout.installations.filter(begun_before, state__in=FAILED_STATES, current=True)
        why = "Somebody asked for everything that failed"
        looked_at = _each("anchors-retry", failed, why, anew, now)
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


# -- beginning -------------------------------------------------------------------------------------------------------


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
        begun += _each(
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
        why = "It was disabled" if not identity.enabled else f"It left {rollout.cohort}"
        installations.withdrawn(installation, f"{why} before anything was sent to it.", now)
        return
    if identity.family_id != installation.group.family_id:
        # Its family changed since it was taken in: it counts, and waits for a canary, with those that it is like now.
        installation.group = _group(rollout, identity)
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
            blocked.append(f"{group} is stopped by {group.failed} failures")
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


# -- going on --------------------------------------------------------------------------------------------------------


@duty("anchors-go-on", timedelta(seconds=10))
def go_on_due(now: datetime) -> None:
    """Try again what was not answered, and ask canaries to restart that do not come back by themselves."""
    due = BundleInstallation.objects.filter(next_run_at__lte=now)

    def go_on(installation: BundleInstallation) -> None:
        waits = installation.next_run_at is not None and installation.next_run_at <= now
        if waits and not installation.awaiting and not installations.is_over(installation):
            stepping.go_on(installation, now)

    _each("anchors-go-on", due, "Its next step is due", go_on, now, due="next_run_at")


@duty("anchors-deadlines", timedelta(seconds=30))
def hold_deadlines(now: datetime) -> None:
    """Silence is failure: what is not done by its deadline has failed, and says what it was waiting for."""
    overdue = BundleInstallation.objects.filter(deadline__lte=now)
    _each("anchors-deadlines", overdue, "Its deadline has passed", partial(_overdue, now=now), now, due="deadline")


def _overdue(installation: BundleInstallation, now: datetime) -> None:
    if installation.deadline is None or installation.deadline > now:
        return
    turn = sequence.present(installation.steps)
    waited = sequence.describe(turn[1]) if turn else "go on"
    said = f" It last said: {turn[1]['detail']}." if turn and turn[1]["detail"] else ""
    name = installation.identity.authoritative_identifier
    may_fail = installation.state in (*UNFINISHED_STATES, *CONFIRMED_STATES)
    if may_fail and canaries.is_lost(installation):
        canaries.lost(installation, now)
    elif installation.state in UNFINISHED_STATES:
        installations.failed(installation, "silent", f"{name} did not {waited} in time.{said}", now)
    elif installation.state in CONFIRMED_STATES and installation.canary and not stepping.is_back(installation):
        installations.failed(
            installation,
            "did_not_return",
            f"{name} is the first of its family and did not come back after its anchors were changed. See whether it "
            "still connects before another one is begun.",
            now,
        )
    else:
        # What is intended is confirmed; only what was replaced or withdrawn may still be there.
        installations.stop_asking(installation, now)
        installation.deadline = None
        if turn is not None and turn[1]["kind"] in (StepKind.DELETE, StepKind.LIST):
            installation.detail = f"It did not {waited} in time; what was replaced may still be installed."
        if installation.state in CONFIRMED_STATES:
            installation.next_check_at = now + installation.rollout.check_interval
        installation.save()


@duty("anchors-check", timedelta(minutes=1))
def check_due(now: datetime) -> None:
    """Ask endpoints again what they have installed."""
    due = BundleInstallation.objects.filter(
        next_check_at__lte=now, current=True, state__in=[*CONFIRMED_STATES, _S.MISMATCHED]
    )

    def ask(installation: BundleInstallation) -> None:
        is_due = installation.next_check_at is not None and installation.next_check_at <= now
        if not is_due or not installation.current:
            return
        if installation.deadline is None and not installation.awaiting and installation.identity.enabled:
            stepping.check(installation, now)
        else:
            installation.next_check_at = now + timedelta(hours=1)
            installation.save()

    _each("anchors-check", due, "It is time to ask what is installed", ask, now, due="next_check_at")


@duty("anchors-withdrawn", timedelta(seconds=10))
def end_withdrawn(now: datetime) -> None:
    """Follow a withdrawal on every endpoint: nothing more is sent, and in an emergency the anchors are deleted."""
    left = BundleInstallation.objects.filter(rollout__state=RolloutState.WITHDRAWN, current=True).exclude(
        state=_S.WITHDRAWN
    )

    def end(installation: BundleInstallation) -> None:
        bundle = installation.rollout.bundle
        if installation.state == _S.WITHDRAWN or bundle.state != BundleState.WITHDRAWN:
            return
        was_sent = installation.started_at is not None
        installations.withdrawn(installation, f"{bundle} was withdrawn.", now)
        if bundle.emergency and was_sent:
            stepping.clear_after_withdrawal(installation, now)

    _each("anchors-withdrawn", left, "Its bundle was withdrawn", end, now)
