"""What comes before a migration, done for the fleet of the demonstration while it runs, and told a step at a time.

The release of the trust anchors, a canary rotation for each family and the approval of its key path, and the rotation
of all keys, by the services that the console uses, as `system:demo`. It is ready when what can be done is done;
chargers and families that cannot follow are named with what stands in their way, and nobody waits for them.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from django.utils import timezone

from bfcerts.demo import DEMO, REASON, WHOLE_FLEET
from bfcerts.ocpp.models import StationSession
from inventory.choices import KeyPath, PlanState
from inventory.errors import InventoryError
from inventory.models import ChargerFamily, Cohort, IssuingAuthority, ManagedIdentity, Plan
from inventory.purposes import BACKEND_SERVER, CHARGER_IDENTITY
from inventory.services import plans
from inventory.words import agreeing, part_of
from migration.key_choices import OPEN_STAGES, KeyState
from migration.models import AuthorizationKey, KeyRotation, RotationTurn
from migration.services import bulk_rotation, key_paths, readiness, rotation
from trustanchors.choices import UNFINISHED_STATES
from trustanchors.models import BundleInstallation, BundleRollout, RolloutFamily, TrustAnchor, TrustAnchorBundle
from trustanchors.services import anchors, bundles, releasing

PACE = releasing.Pace(
    threshold_percent=85, concurrency=100, rate_per_minute=1_200, failure_limit=10, deadline=timedelta(minutes=6)
)
ROTATION = {
    "cohort": WHOLE_FLEET,
    "per_minute": "1200",
    "per_family": "200",
    "per_site": "5",
    "per_region": "500",
    "most_failures": "200",
}
CONNECTED_SHARE = 0.95
ALL_CONNECTED = "All chargers are connected, on Profile 2."
STILL = timedelta(seconds=60)
"""When nothing has moved for so long, the rest waits for chargers that may never come back."""
ANCHORS_FIRST = timedelta(seconds=45)
"""How long key canaries wait for those of the anchors: the connection with the new key then proves both."""
CANARY_PATIENCE = timedelta(minutes=4)
"""How long all others wait for the canaries of the slowest families."""
NAMED = 6
WAVES = ("Pilot", "Region North", "Region South")
PARAMETERS: Mapping[str, str | int] = {
    "success_threshold_percent": 70,
    "failure_threshold_percent": 25,
    "retry_budget": 0,
    "case_deadline_minutes": 5,
    "return_deadline_minutes": 5,
    "family_failure_limit": 2,
    "advance_automatically": "no",
}
"""What the guide has the operator plan with: room for chargers that fail, minutes where hours are usual, and a pilot
that is looked at before anybody else is moved."""


def what_to_do_next() -> str:
    """The commands of the guide, ready to be copied."""
    cohorts = " ".join(f"--cohort '{name}'" for name in WAVES)
    parameters = " \\\n        ".join(f"--param {name}={value}" for name, value in PARAMETERS.items())
    return (
        "Ready. Plan the migration, and apply the digest that the plan prints (in the console: Plans, New plan):\n"
        f"    .venv/bin/python manage.py rollout plan {cohorts} \\\n"
        f"        {parameters} \\\n"
        "        --as operator --reason 'To Profile 3'\n"
        "    .venv/bin/python manage.py rollout apply DIGEST --as operator --reason 'To Profile 3'\n"
        "  Then look, as often as you like (in the console: Rollouts, Breakers):\n"
        "    .venv/bin/python manage.py rollout status 1\n"
        "    .venv/bin/python manage.py rollout why CS-0010\n"
        "  When the breaker of Northwind Energy Pole-2 has opened, after some three minutes, start the next wave:\n"
        "    .venv/bin/python manage.py rollout next 1 --as operator --reason 'The pilot has passed'\n"
        "  README.md, “A fleet that moves”, says what you will see, and when."
    )


class Preparation:
    """Brings the fleet to where a migration can be planned, a step at a time, and tells of each step once."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._told: set[str] = set()
        self._canaries_since: datetime | None = None
        self._left: tuple[int, ...] = ()
        self._left_since: datetime | None = None
        self._is_ready = False

    def round(self) -> Iterator[str]:
        """Do what can be done now.

        :returns: a sentence for each thing that is new.
        """
        if self._is_ready:
            return
        now = timezone.now()
        try:
            for sentence in self._steps(now):
                if sentence not in self._told:
                    self._told.add(sentence)
                    yield sentence
        except InventoryError as error:
            if str(error) not in self._told:
                self._told.add(str(error))
                yield f"Not yet: {error}"

    def _steps(self, now: datetime) -> Iterator[str]:
        if ALL_CONNECTED not in self._told:
            connected = StationSession.objects.filter(closed_at__isnull=True).count()
            if connected < self._size * CONNECTED_SHARE:
                return
        yield ALL_CONNECTED
        yield from _release_anchors(now)
        self._canaries_since = self._canaries_since or now
        if now - self._canaries_since < ANCHORS_FIRST and not _anchors_are_with_their_canaries():
            return
        waiting = [str(family) for family in ChargerFamily.objects.all() if _waits_for_canary(family, now)]
        if waiting and now - self._canaries_since < CANARY_PATIENCE:
            yield f"Key paths wait for their canaries: {', '.join(waiting)}."
            return
        without = [str(family) for family in ChargerFamily.objects.filter(key_path=KeyPath.UNAPPROVED)]
        yield f"The key paths of the families are approved, each on the evidence of a canary{_but_not(without)}."
        _rotate_all(now)
        yield "The AuthorizationKeys of the fleet are being rotated, each charger in its turn."
        if self._is_still(now):
            yield from self._standing(now)

    def _is_still(self, now: datetime) -> bool:
        """Whether what can be done is done: nothing is left, or what is left has not moved for a while."""
        counters = [number for one in BundleRollout.objects.all() for number in (one.confirmed, one.failed)]
        underway = KeyRotation.objects.filter(stage__in=OPEN_STAGES).count()
        left = (underway, RotationTurn.objects.count(), *counters)
        if left != self._left:
            self._left, self._left_since = left, now
        started = not Plan.objects.filter(kind=bulk_rotation.KIND, targets__outcome="waiting").exists()
        gates = not BundleRollout.objects.filter(gate_open=False).exists()
        done = started and gates and not any(left[:2])
        return done or (self._left_since is not None and now - self._left_since >= STILL)

    def _standing(self, now: datetime) -> Iterator[str]:
        closed = list(BundleRollout.objects.filter(gate_open=False))
        for one in closed:
            yield (
                f"Not yet: the gate of {one} is closed, {part_of(one.confirmed, one.targets, 'charger')} "
                f"{agreeing(one.confirmed, 'has', 'have')} confirmed and {one.needed} "
                f"{agreeing(one.needed, 'is', 'are')} needed. It has waited a minute for the rest."
            )
        if closed:
            yield from _halted()
            return
        chargers = list(ManagedIdentity.objects.filter(kind="charger").select_related("family").order_by("pk"))
        checks = readiness.check(chargers, now)
        ready = [one for one in chargers if readiness.first_failure(checks[one.pk]) is None]
        yield f"Ready for Profile 3: {part_of(len(ready), len(chargers), 'charger')}. The others, and why:"
        yield from _left_behind(chargers, checks)
        yield what_to_do_next()
        self._is_ready = True


def _but_not(families: Sequence[str]) -> str:
    return f"; not of {', '.join(families)}, of which no canary has come back" if families else ""


def _left_behind(chargers: Sequence[ManagedIdentity], checks: dict[int, list[readiness.Check]]) -> Iterator[str]:
    """Chargers that do not move, grouped by what stands in their way."""
    groups: dict[str, list[readiness.Check]] = {}
    names: dict[str, list[str]] = {}
    connected = set(StationSession.objects.filter(closed_at__isnull=True).values_list("station_id", flat=True))
    for charger in chargers:
        failing = readiness.first_failure(checks[charger.pk])
        if failing is None:
            continue
        label = f"{failing.code.label}, {charger.family}"
        name = charger.authoritative_identifier
        groups.setdefault(label, []).append(failing)
        names.setdefault(label, []).append(name if name in connected else f"{name} (not connected)")
    for label, found in groups.items():
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        yield f"  {len(found):>4}  {label}: {', '.join(names[label][:NAMED])}{more}. {found[0].sentence}"
    yield from _halted()


def _halted() -> Iterator[str]:
    """Families whose canary did not come back with its anchors."""
    for group in RolloutFamily.objects.exclude(halted_by="").select_related("family", "rollout"):
        yield f"  {group.rollout} is stopped in {group}: {group.halted_by}"


def _release_anchors(now: datetime) -> Iterator[str]:
    if BundleRollout.objects.exists():
        yield "The trust anchors are released to the whole fleet, canary by canary."
        return
    drafts = []
    for purpose in (CHARGER_IDENTITY, BACKEND_SERVER):
        root = IssuingAuthority.objects.filter(trust_domain=purpose.trust_domain, issues=True).first()
        if root is None:
            return
        anchor = TrustAnchor.objects.filter(purpose=purpose.key).first() or anchors.add(
            certificate_pem=root.root_pem, purpose_key=purpose.key, actor=DEMO, reason=REASON, now=now
        )
        drafts.append(
            TrustAnchorBundle.objects.filter(purpose=purpose.key).first()
            or bundles.draft(purpose_key=purpose.key, anchors=[anchor], actor=DEMO, reason=REASON, now=now)
        )
    fleet = Cohort.objects.get(name=WHOLE_FLEET)
    releasing.release(bundles=drafts, cohort=fleet, pace=PACE, actor=DEMO, reason=REASON, now=now)


def _anchors_are_with_their_canaries() -> bool:
    canaries = BundleInstallation.objects.filter(canary=True, current=True)
    return canaries.exists() and not canaries.filter(state__in=UNFINISHED_STATES).exists()


def _waits_for_canary(family: ChargerFamily, now: datetime) -> bool:
    """Approve the family's key path where there is evidence, else give it a canary, where one is connected."""
    if family.key_path != KeyPath.UNAPPROVED:
        return False
    if key_paths.evidence_for(family) is not None:
        key_paths.approve(family=family, path=KeyPath.TWO_SLOTS_AT_OUR_DOOR, actor=DEMO, reason=REASON, now=now)
        return False
    if AuthorizationKey.objects.filter(identity__family=family, state=KeyState.PENDING).exists():
        return True
    connected = StationSession.objects.filter(closed_at__isnull=True).values("station_id")
    members = family.identities.filter(authoritative_identifier__in=connected).order_by("pk")
    canary = members.filter(tags__contains=["pilot"]).first() or members.first()
    if canary is not None:
        rotation.rotate(identity=canary, actor=DEMO, reason=f"Canary of {family}", now=now)
    return canary is not None


def _rotate_all(now: datetime) -> None:
    plan = Plan.objects.filter(kind=bulk_rotation.KIND).first() or plans.make(
        kind=bulk_rotation.KIND, parameters=ROTATION, actor=DEMO, reason=REASON, now=now
    )
    if plan.state == PlanState.PLANNED:
        plans.apply(plan=plan, digest=plan.digest, actor=DEMO, reason=REASON, now=now)
