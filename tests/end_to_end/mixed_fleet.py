"""A mixed fleet on real TLS, brought to where a migration can be planned: anchors confirmed and keys rotated."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from django.utils import timezone

from bfcerts.demo import FAMILIES as TRAITS
from bfcerts.ocpp.models import StationSession
from inventory.choices import Capability, CapabilityBasis, KeyPath
from inventory.models import (
    ChargerFamily,
    Cohort,
    FamilyCapability,
    IssuingAuthority,
    LifecyclePolicy,
    ManagedIdentity,
    PeriodicTask,
    Plan,
)
from inventory.purposes import BACKEND_SERVER, CHARGER_IDENTITY
from inventory.services import catalogue, plans
from migration.models import AuthorizationKey, MigrationCase, MigrationRollout
from migration.services import rotation
from migration.services.why import Why, whys
from tests.end_to_end.plant import OPERATOR, Plant, StationThread, eventually
from tests.simulator.fleet_file import StationDescription
from tests.simulator.station import SimulatedStation
from trustanchors.models import BundleInstallation, BundleRollout, TrustAnchorBundle
from trustanchors.services import anchors, bundles, releasing

FLEET = "Fleet"
"""The cohort of everybody."""
ANCHORED = "Those who keep more than one root"
"""Without the stations that forget each root for the next: what is released to them locks them out."""
REASON = "test"


@dataclass
class Charger:
    """A charger: what the inventory knows of it, and the station itself."""

    description: StationDescription
    identity: ManagedIdentity
    station: SimulatedStation

    @property
    def name(self) -> str:
        return self.description.station_id

    @property
    def case(self) -> MigrationCase:
        return MigrationCase.objects.live().get(identity=self.identity)

    @property
    def state(self) -> str:
        case = MigrationCase.objects.live().filter(identity=self.identity).first()
        return case.state if case is not None else ""

    @property
    def profile(self) -> int | None:
        """Of its open connection; None where it has none."""
        sessions = StationSession.objects.filter(station_id=self.name, closed_at__isnull=True)
        return sessions.values_list("security_profile", flat=True).order_by("-connected_at").first()

    def suffers(self, **quirks: Any) -> None:
        """From now on it departs from the standard in this way, too."""
        self.station.quirks = replace(self.station.quirks, **quirks)

    def deadline_passes(self) -> None:
        """Its time is over now."""
        changed = MigrationCase.objects.live().filter(identity=self.identity, deadline__isnull=False)
        assert changed.update(deadline=timezone.now()) == 1


@dataclass
class MixedFleet:
    """The chargers of a fleet, and what an operator does with them."""

    plant: Plant
    threads: StationThread
    chargers: dict[str, Charger] = field(default_factory=dict)

    def commission(self, descriptions: Iterable[StationDescription]) -> None:
        """Take the stations into the inventory, with their families, and connect them.

        What they refuse is tried again within seconds: what is tested is how it ends.
        """
        policies = LifecyclePolicy.objects.filter(purpose=CHARGER_IDENTITY.key)
        policies.update(retry_delay=timedelta(seconds=1), retry_delay_limit=timedelta(seconds=4))
        for description in descriptions:
            family = _family(description)
            listener = "profile2" if description.protocol == "ocpp2.0.1" else "dual"
            identity, station = self.threads.take_in(
                description,
                listener=listener,
                family=family,
                firmware_version=description.firmware,
                site=f"Depot of {description.station_id}",
            )
            self.chargers[identity.authoritative_identifier] = Charger(description, identity, station)
        everybody = self.chargers.values()
        self.cohort(FLEET, everybody)
        self.cohort(ANCHORED, [one for one in everybody if not one.description.quirks.only_last_root_trusted])
        self.threads.start([charger.station for charger in self.chargers.values()])
        eventually(lambda: all(charger.profile == 2 for charger in self.chargers.values()), what=self.situation)

    def of(self, *models: str) -> list[Charger]:
        """Those of some models, in their order."""
        return [charger for charger in self.chargers.values() if charger.description.model in models]

    def cohort(self, name: str, chargers: Iterable[Charger]) -> Cohort:
        made = catalogue.save(entry=Cohort(name=name), actor=OPERATOR, reason=REASON)
        identifiers = [charger.name for charger in chargers]
        catalogue.add_members(cohort=made, identifiers=identifiers, actor=OPERATOR, reason=REASON)
        return made

    # -- what comes before a migration ---------------------------------------------------------------------------------

    def release_anchors(
        self, *, threshold_percent: int, cohort: str = ANCHORED, asked: bool = True
    ) -> list[BundleRollout]:
        """Release the roots that everybody needs.

        :param asked: wait until the canaries of all families have said what they have.
        """
        now = timezone.now()
        drafts = [_own_bundle(purpose.key, purpose.trust_domain) for purpose in (CHARGER_IDENTITY, BACKEND_SERVER)]
        pace = releasing.Pace(
            threshold_percent=threshold_percent, concurrency=100, rate_per_minute=6_000, failure_limit=10
        )
        members = Cohort.objects.get(name=cohort)
        rollouts = releasing.release(
            bundles=drafts,
            cohort=members,
            pace=pace,
            actor=OPERATOR,
            reason=REASON,
            now=now,
        )
        bring_forward("anchors-members")
        canaries = BundleInstallation.objects.filter(rollout__in=rollouts, canary=True)
        expected = len(rollouts) * members.members.values("family").distinct().count()
        if asked:
            unsaid = canaries.filter(state__in=["intended", "delivered"])
            eventually(lambda: canaries.count() == expected and not unsaid.exists(), what=self.situation)
        return rollouts

    def rotate_keys(self, chargers: Sequence[Charger] | None = None) -> None:
        """A new AuthorizationKey over the air; everybody comes back with it, and so do the canaries of the anchors."""
        chosen = list(self.chargers.values()) if chargers is None else chargers
        for charger in chosen:
            rotation.rotate(identity=charger.identity, actor=OPERATOR, reason=REASON)
        active = AuthorizationKey.objects.filter(
            identity__in=[charger.identity for charger in chosen], state="active", source="generated"
        )
        eventually(lambda: active.count() == len(chosen), what=self.situation)

    def wait_for_anchors(self) -> None:
        """Until every anchor that was released has its outcome."""
        eventually(lambda: not _unfinished().exists(), what=self.situation)

    def prepare(self, *, threshold_percent: int) -> None:
        """All of the above."""
        self.release_anchors(threshold_percent=threshold_percent)
        self.rotate_keys()
        self.wait_for_anchors()

    # -- the migration -------------------------------------------------------------------------------------------------

    def plan(self, *cohorts: str, **parameters: Any) -> Plan:
        return plans.make(
            kind="migration",
            parameters={"cohorts": list(cohorts), **parameters},
            actor=OPERATOR,
            reason=REASON,
            now=timezone.now(),
        )

    def roll_out(self, *cohorts: str, **parameters: Any) -> MigrationRollout:
        plan = self.plan(*cohorts, **parameters)
        plans.apply(plan=plan, digest=plan.digest, actor=OPERATOR, reason=REASON, now=timezone.now())
        return MigrationRollout.objects.get(plan=plan)

    def whys(self) -> dict[str, Why | None]:
        """The one answer of each, by its name."""
        identities = list(ManagedIdentity.objects.filter(kind="charger").select_related("family"))
        answers = whys(identities, timezone.now())
        return {identity.authoritative_identifier: answers[identity.pk] for identity in identities}

    def standing(self) -> dict[str, str]:
        """`active`, or the code of why not, by name."""
        return {name: "active" if answer is None else str(answer.code) for name, answer in self.whys().items()}

    def wait_until(self, condition: Callable[[], object], seconds: float = 90.0) -> None:
        eventually(condition, seconds, what=self.situation)

    def situation(self) -> str:
        """What an operator would look at when it does not go on."""
        answers = self.whys()
        cases = {
            name: (charger.description.model, charger.state, charger.profile, answers[name])
            for name, charger in self.chargers.items()
        }
        installations = list(
            BundleInstallation.objects.values_list(
                "identity__authoritative_identifier", "purpose", "state", "canary", "detail"
            )
        )
        keys = list(
            AuthorizationKey.objects.values_list("identity__authoritative_identifier", "state", "source").order_by("pk")
        )
        rollouts = list(MigrationRollout.objects.values_list("state", "note"))
        return f"{cases}; {installations}; {keys}; {rollouts}; {self.plant.situation()}"


def bring_forward(*duties: str) -> None:
    """A recurring duty comes now, and not when its interval is over."""
    PeriodicTask.objects.filter(name__in=duties).update(next_run_at=timezone.now())


def leases_run_out() -> None:
    """What the dead had claimed of the recurring duties is free again, as it is when their leases have ended."""
    PeriodicTask.objects.filter(lease_until__isnull=False).update(lease_until=None)


def _unfinished() -> Any:
    return BundleInstallation.objects.filter(current=True, state__in=["intended", "delivered"])


def _own_bundle(purpose_key: str, trust_domain: str) -> TrustAnchorBundle:
    now = timezone.now()
    root = IssuingAuthority.objects.get(trust_domain=trust_domain, issues=True).root_pem
    anchor = anchors.add(certificate_pem=root, purpose_key=purpose_key, actor=OPERATOR, reason=REASON, now=now)
    return bundles.draft(purpose_key=purpose_key, anchors=[anchor], actor=OPERATOR, reason=REASON, now=now)


def _family(description: StationDescription) -> ChargerFamily:
    """The family as the operator of the demonstration knows it, its key path approved."""
    key = (description.vendor, description.model)
    known = ChargerFamily.objects.filter(vendor=key[0], model=key[1]).first()
    if known is not None:
        return known
    traits, now = TRAITS[key], timezone.now()
    made = catalogue.save(
        entry=ChargerFamily(name=" ".join(key), vendor=key[0], model=key[1], **traits.values),
        actor=OPERATOR,
        reason=REASON,
    )
    FamilyCapability.objects.bulk_create(
        FamilyCapability(
            family=made,
            capability=capability,
            supported=capability not in traits.cannot,
            basis=CapabilityBasis.DECLARED,
            source=REASON,
            as_of=now - timedelta(days=1),
        )
        for capability in Capability
        if capability not in (*traits.unknown, Capability.DUAL_KEY_SLOTS)
    )
    ChargerFamily.objects.filter(pk=made.pk).update(
        key_path=KeyPath.TWO_SLOTS_AT_OUR_DOOR, key_path_approved_at=now, key_path_approved_by="test"
    )
    made.refresh_from_db()
    return made
