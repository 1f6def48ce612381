"""What `manage.py run --demo` adds: a mixed fleet on Profile 2, prepared up to the point where an operator decides.

Families with quirks, some of them unable to move; sites, cohorts and imported AuthorizationKeys. Then what comes before
a migration: a canary rotation for each family and the approval of its key path, the rotation of all keys, and the
release of the trust anchors. Everything is done by the services that the console uses, as `system:demo`.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.utils import timezone

from bfcerts.configuration import Configuration
from bfcerts.ocpp.models import StationSession
from inventory.actors import Actor
from inventory.choices import Capability, ChainContent, KeyPath, PlanRun, PlanState, SubjectRule
from inventory.errors import InventoryError
from inventory.models import ChargerFamily, Cohort, IssuingAuthority, ManagedIdentity, Plan
from inventory.purposes import BACKEND_SERVER, CHARGER_IDENTITY
from inventory.services import capabilities, catalogue, identities, plans
from migration.services import authorization_keys, bulk_rotation, key_paths, rotation
from trustanchors.models import BundleRollout, TrustAnchor, TrustAnchorBundle
from trustanchors.services import anchors, bundles, releasing

DEMO = Actor.system("demo")
SEED = 7
MISFORTUNE = "0.06"
SITES = 20
SOURCE = "Data sheet of the vendor (demonstration)"
REASON = "Demonstration of a mixed fleet"
KEY_AGE = timedelta(days=700)
WHOLE_FLEET = "Whole fleet"
COHORTS: Mapping[str, Mapping[str, Any]] = {
    WHOLE_FLEET: {"owner": "Example CPO"},
    "Pilot": {"tag": "pilot"},
    "Region North": {"region": "North"},
    "Region South": {"region": "South"},
}
PACE = releasing.Pace(threshold_percent=90, concurrency=100, rate_per_minute=1_200, failure_limit=10)
ROTATION = {"cohort": WHOLE_FLEET, "per_minute": "1200", "per_family": "200", "per_site": "5", "per_region": "500"}
CONNECTED_SHARE = 0.95
ALL_CONNECTED = "All chargers are connected, on Profile 2."


@dataclass(frozen=True, slots=True)
class Traits:
    """What the operator of the demonstration knows of a family."""

    values: Mapping[str, Any]
    cannot: tuple[Capability, ...] = ()
    unknown: tuple[Capability, ...] = ()


FAMILIES: Mapping[tuple[str, str], Traits] = {
    ("Example Charging", "AC22"): Traits({"reconnects_by_itself": True}),
    ("Example Charging", "DC150"): Traits({"reconnects_by_itself": True}),
    ("Northwind Energy", "Pole-2"): Traits(
        {
            "chain_content": ChainContent.LEAF_TO_ROOT,
            "subject_rule": SubjectRule.SERIAL_NUMBER,
            "reconnects_by_itself": True,
        }
    ),
    ("Legacy Power", "Wallbox"): Traits({"reconnects_by_itself": True}),
    ("Legacy Power", "Wallbox Mini"): Traits({"certificate_store_size": 2}, cannot=(Capability.SECURITY_LOG_STORE,)),
    ("Harbour Systems", "HS-50"): Traits(
        {
            "subject_rule": SubjectRule.SERIAL_NUMBER,
            "can_lower_profile": True,
            "protocol_variant": "ocpp1.6-legacy-trigger",
        }
    ),
    ("Harbour Systems", "HS-50 Compact"): Traits({}, unknown=(Capability.PROFILE_3, Capability.GET_LOG)),
}


def prepare(configuration: Configuration, size: int) -> Path:
    """Take the fleet into the inventory, and write the simulator's fleet file; done again, it changes nothing.

    :returns: the fleet file; readable by its owner alone, because it holds the keys.
    """
    folder = configuration.var_directory / "simulator"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "demo.json"
    if not path.exists():
        path.touch(mode=0o600)
        _write_fleet(configuration, path, size)
    stations = json.loads(path.read_text(encoding="utf-8"))["stations"]
    now = timezone.now()
    families = _make_families(stations, now)
    for number, station in enumerate(stations):
        _take_in(station, number, families, now)
    _make_cohorts()
    return path


def _write_fleet(configuration: Configuration, path: Path, size: int) -> None:
    authority = configuration.local_ca_directory or configuration.var_directory / "ca"
    roots = [str((authority / domain / "root.pem").resolve()) for domain in ("charger_identity", "backend_server")]
    subprocess.run(
        [
            *(sys.executable, "-m", "tests.simulator", "--mixed", str(size), "--seed", str(SEED)),
            *("--misfortune", MISFORTUNE, "--url-dual", configuration.dual_url or "", "--write", str(path)),
            *(part for root in roots for part in ("--root", root)),
        ],
        check=True,
    )


def _make_families(stations: list[dict[str, Any]], now: datetime) -> dict[tuple[str, str], ChargerFamily]:
    known = {}
    for vendor, model in dict.fromkeys((station["vendor"], station["model"]) for station in stations):
        family = ChargerFamily.objects.filter(vendor=vendor, model=model).first()
        traits = FAMILIES[vendor, model]
        if family is None:
            entry = ChargerFamily(name=f"{vendor} {model}", vendor=vendor, model=model, **traits.values)
            family = catalogue.save(entry=entry, actor=DEMO, reason=REASON)
            for capability in Capability:
                if capability not in (*traits.unknown, Capability.DUAL_KEY_SLOTS):
                    capabilities.declare(
                        family=family,
                        capability=capability,
                        supported=capability not in traits.cannot,
                        source=SOURCE,
                        actor=DEMO,
                        reason=REASON,
                        now=now,
                    )
        known[vendor, model] = family
    return known


def _take_in(
    station: dict[str, Any], number: int, families: Mapping[tuple[str, str], ChargerFamily], now: datetime
) -> None:
    identifier = station["station_id"]
    if ManagedIdentity.objects.filter(kind="charger", authoritative_identifier=identifier).exists():
        return
    site = number % SITES
    identity = identities.create(
        kind="charger",
        authoritative_identifier=identifier,
        serial_number=station["serial_number"],
        site=f"Depot {site + 1:02}",
        region="North" if site < SITES // 2 else "South",
        owner="Example CPO",
        tags=["pilot"] if number < SITES else [],
        family=families[station["vendor"], station["model"]],
        firmware_version=station["firmware"],
        actor=DEMO,
        reason=REASON,
    )
    authorization_keys.import_existing(
        identity=identity,
        secret=station["password"],
        actor=DEMO,
        reason=REASON,
        created_at=now - KEY_AGE,
        now=now,
    )


def _make_cohorts() -> None:
    for name, condition in COHORTS.items():
        if not Cohort.objects.filter(name=name).exists():
            catalogue.save(entry=Cohort(name=name, kind="filter", filter=dict(condition)), actor=DEMO, reason=REASON)


class Preparation:
    """Brings the fleet to where a migration can be planned, a step at a time, and tells of each step once."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._told: set[str] = set()

    def round(self) -> Iterator[str]:
        """Do what can be done now.

        :returns: a sentence for each thing that is new.
        """
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
        waiting = [family for family in ChargerFamily.objects.all() if not _key_path_of(family, now)]
        if waiting:
            yield f"Key paths wait for their canaries: {', '.join(str(family) for family in waiting)}."
            return
        yield "The key path of every family is approved, each on the evidence of a canary."
        yield from _rotate_all(now)


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


def _key_path_of(family: ChargerFamily, now: datetime) -> bool:
    """Whether the family's path is approved; one that has its evidence is, and one without gets its canary."""
    if family.key_path != KeyPath.UNAPPROVED:
        return True
    if key_paths.evidence_for(family) is not None:
        key_paths.approve(family=family, path=KeyPath.TWO_SLOTS_AT_OUR_DOOR, actor=DEMO, reason=REASON, now=now)
        return True
    canary = family.identities.filter(tags__contains=["pilot"]).first() or family.identities.first()
    if canary is not None and not canary.authorization_keys.filter(state="pending").exists():
        rotation.rotate(identity=canary, actor=DEMO, reason=f"Canary of {family}", now=now)
    return canary is None


def _rotate_all(now: datetime) -> Iterator[str]:
    plan = Plan.objects.filter(kind=bulk_rotation.KIND).first() or plans.make(
        kind=bulk_rotation.KIND, parameters=ROTATION, actor=DEMO, reason=REASON, now=now
    )
    if plan.state == PlanState.PLANNED:
        plan = plans.apply(plan=plan, digest=plan.digest, actor=DEMO, reason=REASON, now=now)
    yield "The AuthorizationKeys of the fleet are being rotated, each charger in its turn."
    if plan.run == PlanRun.RUNNING:
        return
    closed = [str(rollout) for rollout in BundleRollout.objects.filter(gate_open=False)]
    if closed:
        yield f"Gates that are still closed: {', '.join(closed)}."
        return
    yield (
        "Ready. Plan a “Migration to Profile 3” of the cohorts Pilot, Region North and Region South in the console,\n"
        "  or with\n"
        "      manage.py rollout plan --cohort Pilot --cohort 'Region North' --cohort 'Region South' --as operator "
        "\\\n      --param success_threshold_percent=70 --param failure_threshold_percent=25 --reason 'To Profile 3'"
    )
