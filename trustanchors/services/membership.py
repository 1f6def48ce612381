"""Members of a cohort: each gets its installation, and the rollout runs."""

from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from inventory.audit import attributed
from inventory.jobs import setbacks
from inventory.jobs.periodic import duty
from inventory.models import ManagedIdentity
from trustanchors.choices import STANDING_STATES, UNFINISHED_STATES, InstallationState, RolloutState
from trustanchors.models import BundleInstallation, BundleRollout, RolloutFamily
from trustanchors.services import installations
from trustanchors.services.apart import MANAGER
from trustanchors.services.judging import BATCH, NOT_A_TARGET, Judge
from trustanchors.services.releasing import lock_rollout

_S = InstallationState


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
            groups[identity.family_id] = group_of(rollout, identity)
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


def group_of(rollout: BundleRollout, identity: ManagedIdentity) -> RolloutFamily:
    """Those of the rollout that are like this charger; they stop and are proven together."""
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
