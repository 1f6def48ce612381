"""What `manage.py run --demo` adds: a mixed fleet on Profile 2, in the inventory and as simulated chargers.

Families with quirks, some of them unable to move and one that fails on the way; sites, cohorts, imported
AuthorizationKeys, and policies whose deadlines are minutes, so that somebody who looks on sees them pass. Everything is
done by the services that the console uses, as `system:demo`. What comes next is in `bfcerts.demo_preparation`.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.utils import timezone

from bfcerts.configuration import Configuration
from inventory.actors import Actor
from inventory.choices import Capability, ChainContent, SubjectRule
from inventory.models import ChargerFamily, Cohort, LifecyclePolicy, ManagedIdentity, SitePolicy
from inventory.purposes import CHARGER_IDENTITY
from inventory.services import capabilities, catalogue, identities
from migration.services import authorization_keys

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
AWAY_PERCENT = 30
DEADLINES: Mapping[str, Mapping[str, timedelta]] = {
    CHARGER_IDENTITY.key: {
        "csr_deadline": timedelta(minutes=2),
        "delivery_deadline": timedelta(minutes=4),
        "cut_over_deadline": timedelta(minutes=2),
    },
    "authorization_key": {"delivery_deadline": timedelta(minutes=6), "cut_over_deadline": timedelta(minutes=4)},
}
"""How long a charger of the demonstration has, by what its policy is for; the product's own policies say hours."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What the operator of the demonstration knows of a family."""

    values: Mapping[str, Any]
    cannot: tuple[Capability, ...] = ()
    unknown: tuple[Capability, ...] = ()
    quirks: Mapping[str, Any] = field(default_factory=dict)
    """What goes wrong with each of its simulated chargers here, and nobody knows yet."""


FAMILIES: Mapping[tuple[str, str], Traits] = {
    ("Example Charging", "AC22"): Traits({"reconnects_by_itself": True}),
    ("Example Charging", "DC150"): Traits({"reconnects_by_itself": True}),
    ("Northwind Energy", "Pole-2"): Traits(
        {
            "chain_content": ChainContent.LEAF_TO_ROOT,
            "subject_rule": SubjectRule.SERIAL_NUMBER,
            "reconnects_by_itself": True,
        },
        quirks={"loses_new_key": True},
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
    _make_policies()
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
    fleet = json.loads(path.read_text(encoding="utf-8"))
    for station in fleet["stations"]:
        station["quirks"] |= FAMILIES[station["vendor"], station["model"]].quirks
    path.write_text(json.dumps(fleet, indent=2), encoding="utf-8")


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
    identity = identities.create(
        kind="charger",
        authoritative_identifier=identifier,
        serial_number=station["serial_number"],
        site=_site(number),
        region="North" if number % SITES < SITES // 2 else "South",
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


def _make_policies() -> None:
    """Deadlines that somebody can sit through, and sites that one dead charger does not stop."""
    fleet = Cohort.objects.get(name=WHOLE_FLEET)
    for purpose, deadlines in DEADLINES.items():
        if not LifecyclePolicy.objects.filter(purpose=purpose, cohort=fleet).exists():
            policy = LifecyclePolicy.objects.get(purpose=purpose, mode="", program="", family=None, cohort=None)
            policy.pk, policy._state.adding = None, True
            policy.name, policy.cohort, policy.notes = f"{policy.name} of the demonstration", fleet, REASON
            for name, value in deadlines.items():
                setattr(policy, name, value)
            catalogue.save(entry=policy, actor=DEMO, reason=REASON)
    for number in range(SITES):
        if not SitePolicy.objects.filter(site=_site(number)).exists():
            entry = SitePolicy(site=_site(number), away_percent=AWAY_PERCENT)
            catalogue.save(entry=entry, actor=DEMO, reason=REASON)


def _site(number: int) -> str:
    return f"Depot {number % SITES + 1:02}"
