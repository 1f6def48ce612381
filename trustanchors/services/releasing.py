"""Releasing bundles to a cohort, and going back to what it had before."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from inventory.actors import Actor
from inventory.choices import EventType
from inventory.errors import InvalidInputError
from inventory.models import Cohort
from inventory.services.command import command
from inventory.services.events import record_event
from inventory.words import part_of
from trustanchors.choices import BundleState, RolloutState
from trustanchors.errors import ReleaseRefusedError
from trustanchors.models import BundleRollout, TrustAnchorBundle
from trustanchors.services import bundles as bundle_service
from trustanchors.services.judging import Judge, Tally, check_bundles

RELEASE = "trustanchors.release_trustanchorbundle"
LONGEST_DEADLINE = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Pace:
    """How a rollout goes, and when it is good enough."""

    threshold_percent: int = 95
    concurrency: int = 20
    rate_per_minute: int = 60
    failure_limit: int = 3
    deadline: timedelta = timedelta(hours=24)
    check_interval: timedelta = timedelta(days=7)

    def check(self) -> None:
        """Refuse values that cannot be.

        :raises InvalidInputError: naming the value.
        """
        if not 1 <= self.threshold_percent <= 100:
            raise InvalidInputError(f"A threshold of {self.threshold_percent} % cannot be met; give 1 to 100.")
        for name in ("concurrency", "rate_per_minute", "failure_limit"):
            if not 1 <= getattr(self, name) <= 10_000:
                raise InvalidInputError(f"{name.replace('_', ' ').capitalize()} must be 1 to 10,000.")
        if not timedelta(minutes=1) <= self.deadline <= LONGEST_DEADLINE:
            raise InvalidInputError("The deadline for a charger must be one minute to 30 days.")
        if not timedelta(hours=1) <= self.check_interval <= timedelta(days=90):
            raise InvalidInputError("Chargers are asked again after one hour to 90 days.")

    def values(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def preview(
    *, bundles: Sequence[TrustAnchorBundle], cohort: Cohort, actor: Actor, now: datetime | None = None
) -> Tally:
    """What a release would do: how many could take it, who could not and why. Nothing is changed.

    :raises ReleaseRefusedError: when the bundles cannot be released at all.
    """
    actor.require("trustanchors.view_trustanchorbundle")
    check_bundles(bundles, now or timezone.now())
    return Judge(bundles).tally(cohort.identities())


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a release would come to."""

    tally: Tally
    needed: int
    """How many confirmations open its gate."""
    obstacle: str
    """Why it would be refused, with what to do; empty where it would not."""


def foresee(
    *,
    bundles: Sequence[TrustAnchorBundle],
    cohort: Cohort,
    pace: Pace,
    actor: Actor,
    now: datetime,
) -> Foreseen:
    """What a release at this pace would do and whether it would be refused. Nothing is changed.

    :raises ReleaseRefusedError: when the bundles cannot be released at all.
    :raises InvalidInputError: when a value of the pace cannot be.
    """
    pace.check()
    tally = preview(bundles=bundles, cohort=cohort, actor=actor, now=now)
    needed = max(1, -(-pace.threshold_percent * tally.targets // 100))
    try:
        check_tally(tally, cohort, pace)
    except ReleaseRefusedError as refusal:
        return Foreseen(tally, needed, str(refusal))
    return Foreseen(tally, needed, "")


def release(
    *,
    bundles: Sequence[TrustAnchorBundle],
    cohort: Cohort,
    pace: Pace | None = None,
    actor: Actor,
    reason: str,
    now: datetime | None = None,
) -> list[BundleRollout]:
    """Release bundles, one of each purpose, to a cohort.

    What the cohort then has together must cover the root of our present server chain and the root of the charger
    identity CA. Its members are taken in by a duty right after; then the first endpoint of each family is the canary.

    :returns: a rollout for each bundle, charger identity first.
    :raises ReleaseRefusedError: when somebody would be without a root that it needs, when the cohort is empty, or
        when so few can take the bundles that the threshold cannot be met.
    """
    now = now or timezone.now()
    actor.require(RELEASE)
    pace = pace or Pace()
    pace.check()
    check_bundles(bundles, now)
    check_tally(Judge(bundles).tally(cohort.identities()), cohort, pace)
    return start(bundles=bundles, cohort=cohort, pace=pace, actor=actor, reason=reason, now=now)


def check_tally(tally: Tally, cohort: Cohort, pace: Pace) -> None:
    """Refuse a release that would strand somebody, reaches nobody, or cannot reach its threshold.

    :raises ReleaseRefusedError: with the numbers, and what to do.
    """
    if not tally.targets:
        raise ReleaseRefusedError(f"The cohort {cohort} has no charger that is enabled; there is nobody to release to.")
    stranded = tally.codes["not_covered"]
    if stranded:
        raise ReleaseRefusedError(
            f"{part_of(stranded, tally.targets, 'charger')} would be left without a way in. "
            f"{tally.examples['not_covered']} Put the root into a bundle of its purpose, and release both together."
        )
    if tally.able * 100 < pace.threshold_percent * tally.targets:
        why = " ".join(sentence for code, sentence in sorted(tally.examples.items()))
        raise ReleaseRefusedError(
            f"The threshold of {pace.threshold_percent} % cannot be met: "
            f"{part_of(tally.able, tally.targets, 'charger')} can take the release. {why} Narrow the cohort, or "
            "lower the threshold."
        )


def start(
    *,
    bundles: Sequence[TrustAnchorBundle],
    cohort: Cohort,
    pace: Pace,
    actor: Actor,
    reason: str,
    now: datetime,
) -> list[BundleRollout]:
    """Start what was checked. Each rollout takes the place of the one that its cohort has for the purpose.

    :raises ReleaseRefusedError: when a bundle was withdrawn meanwhile, or stands for this cohort already.
    """
    with command(actor, RELEASE, reason):
        ordered = sorted(bundles, key=lambda bundle: bundle.purpose != "charger_identity")
        return [_start(bundle_service.lock(bundle.pk), cohort, pace, now) for bundle in ordered]


def _start(bundle: TrustAnchorBundle, cohort: Cohort, pace: Pace, now: datetime) -> BundleRollout:
    if bundle.state == BundleState.WITHDRAWN:
        raise ReleaseRefusedError(f"{bundle} was withdrawn just now. Make the next version.")
    previous = _standing(cohort, bundle.purpose)
    if previous is not None and previous.is_standing and previous.bundle_id == bundle.pk:
        raise ReleaseRefusedError(
            f"{previous} stands already ({previous.get_state_display().lower()}); retry what failed there instead."
        )
    if bundle.state in (BundleState.DRAFT, BundleState.SUPERSEDED):
        bundle.released_at = now
        bundle.release()
        bundle.save()
    if previous is not None:
        _replace(previous, bundle, now)
    rollout = BundleRollout(
        bundle=bundle, purpose=bundle.purpose, cohort=cohort, previous=previous, created_at=now, **pace.values()
    )
    try:
        with transaction.atomic():
            rollout.save()
    except IntegrityError:
        raise ReleaseRefusedError(
            f"Somebody else has released to {cohort} at this moment. Look at its rollouts, then decide anew."
        ) from None
    record_event(
        EventType.TRUST_ANCHOR_RELEASE_REQUESTED,
        now=now,
        payload={
            "trustAnchorBundleId": bundle.pk,
            "bundleVersion": bundle.version,
            "bundleDigest": bundle.digest,
            "purpose": bundle.purpose,
            "rolloutId": rollout.pk,
            "cohort": cohort.name,
            "thresholdPercent": rollout.threshold_percent,
            "replacesRolloutId": previous.pk if previous else None,
        },
        resulting_state=rollout.state,
        dedupe_key=f"anchors-released:{rollout.pk}",
    )
    return rollout


def _standing(cohort: Cohort, purpose: str) -> BundleRollout | None:
    """The newest rollout of this cohort and purpose that nothing has replaced, locked."""
    rollouts = BundleRollout.objects.select_for_update(of=("self",)).select_related("bundle", "cohort")
    return rollouts.filter(cohort=cohort, purpose=purpose, replaced_at=None).order_by("-pk").first()


def _replace(previous: BundleRollout, bundle: TrustAnchorBundle, now: datetime) -> None:
    previous.replaced_at = now
    if previous.state in (RolloutState.PLANNED, RolloutState.RUNNING, RolloutState.PAUSED):
        previous.stop()
        previous.outcome = f"Replaced by version {bundle.version}."
    previous.save()


def roll_back(*, rollout: BundleRollout, actor: Actor, reason: str, now: datetime | None = None) -> BundleRollout:
    """Give a cohort back the version that it had before this one.

    :returns: the new rollout, of the former version.
    :raises ReleaseRefusedError: when there was none, it is withdrawn, or it would leave somebody without a way in.
    """
    now = now or timezone.now()
    actor.require("trustanchors.rollback_bundlerollout")
    former = former_bundle(rollout)
    if former is None:
        raise ReleaseRefusedError(
            f"{rollout} is the first of its cohort: there is no former version to go back to. Withdraw it instead."
        )
    check_bundles([former], now)
    pace = Pace(**{field.name: getattr(rollout, field.name) for field in fields(Pace)})
    check_tally(Judge([former]).tally(rollout.cohort.identities()), rollout.cohort, pace)
    with command(actor, "trustanchors.rollback_bundlerollout", reason):
        locked = lock_rollout(rollout.pk)
        if locked.replaced_at is not None:
            raise ReleaseRefusedError(f"{locked} is replaced already; roll back what replaced it.")
        bundle = bundle_service.lock(former.pk)
        if locked.state == RolloutState.PLANNED:
            locked.stop()
            locked.save()
        if locked.state != RolloutState.WITHDRAWN:
            locked.roll_back()
        locked.outcome = f"Rolled back to version {bundle.version}."
        locked.save()
        return _start(bundle, locked.cohort, pace, now)


def former_bundle(rollout: BundleRollout) -> TrustAnchorBundle | None:
    """The newest bundle before this rollout's that its cohort had and that was not withdrawn."""
    earlier = rollout.previous
    while earlier is not None:
        if earlier.bundle_id != rollout.bundle_id and earlier.bundle.state != BundleState.WITHDRAWN:
            return earlier.bundle
        earlier = earlier.previous
    return None


def lock_rollout(rollout_id: int) -> BundleRollout:
    """The rollout, locked until the end of the transaction; no identity may be locked after it."""
    rollouts = BundleRollout.objects.select_for_update(of=("self",)).select_related("bundle", "cohort", "previous")
    return rollouts.get(pk=rollout_id)
