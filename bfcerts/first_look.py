"""What `manage.py run` adds for a first look: a sign-in, some chargers, and their way to Profile 3."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from bfcerts.configuration import Configuration
from bfcerts.stored_secrets import stored_secret
from inventory.actors import Actor
from inventory.choices import JOB_OPEN_STATES, JobAction, JobState, RecordState
from inventory.errors import InventoryError
from inventory.models import CertificateJob, CertificateRecord, ManagedIdentity
from inventory.purposes import CHARGER_IDENTITY
from inventory.services import identities, lifecycle, lockouts, station_commands
from migration.services import authorization_keys

FIRST_LOOK = Actor.system("first-look")
OPERATOR_NAME = "operator"
SITES = ("Depot North", "Depot South", "City Hall")
STATION_VENDOR, STATION_MODEL = "Example Charging", "AC22"


@dataclass(frozen=True, slots=True)
class DemoCharger:
    """One simulated charger of the first look."""

    station_id: str
    serial_number: str
    site: str
    quirks: dict[str, Any]
    story: str
    is_refused: bool = False


def demo_fleet(size: int) -> list[DemoCharger]:
    """The fleet: well-behaved chargers, and a last one that sends a request in another charger's name."""
    fleet = [
        DemoCharger(
            station_id=f"CS-{number:04}",
            serial_number=f"SN-2026-{number:05}",
            site=SITES[number % len(SITES)],
            quirks={},
            story="well-behaved",
        )
        for number in range(1, size + 1)
    ]
    if size > 1:
        number = size + 1
        fleet.append(
            DemoCharger(
                station_id=f"CS-{number:04}",
                serial_number=f"SN-2026-{number:05}",
                site=SITES[number % len(SITES)],
                quirks={"wrong_csr": "foreign_name", "wrong_csr_name": "CS-0001"},
                story="asks for a certificate in the name of CS-0001, and has to be refused",
                is_refused=True,
            )
        )
    return fleet


def ensure_operator(var_directory: Path) -> tuple[str, str]:
    """A superuser for the first look.

    :returns: user name and password.
    """
    password = stored_secret(var_directory, "operator_password", octets=12)
    user = User.objects.filter(username=OPERATOR_NAME).first()
    if user is None:
        User.objects.create_superuser(OPERATOR_NAME, password=password)
    return OPERATOR_NAME, password


def prepare_fleet(configuration: Configuration, fleet: list[DemoCharger]) -> Path:
    """Take the chargers into the inventory with a key each, and write the simulator's fleet file.

    A charger that is in the file has been given its key: what became of that since is the operator's doing, and stays.

    :returns: the fleet file; readable by its owner alone, because it holds the keys.
    """
    folder = configuration.var_directory / "simulator"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "fleet.json"
    known = _known_passwords(path)
    passwords = {}
    for item in fleet:
        identity = ManagedIdentity.objects.filter(kind="charger", authoritative_identifier=item.station_id).first()
        if identity is None:
            identity = identities.create(
                kind="charger",
                authoritative_identifier=item.station_id,
                serial_number=item.serial_number,
                site=item.site,
                region="Example Region",
                owner="Example CPO",
                tags=["first-look"],
                actor=FIRST_LOOK,
                reason="Simulated charger of the first look",
            )
        passwords[item.station_id] = known.get(item.station_id) or secrets.token_hex(16)
        if item.station_id not in known and not lockouts.is_locked_out(identity, timezone.now()):
            authorization_keys.set_initial(
                identity=identity,
                secret=passwords[item.station_id],
                actor=FIRST_LOOK,
                reason="Simulated charger of the first look",
                force=True,
            )
    path.touch(mode=0o600)
    path.write_text(json.dumps(_fleet_description(configuration, fleet, passwords), indent=2), encoding="utf-8")
    return path


def _known_passwords(path: Path) -> dict[str, str]:
    try:
        stations = json.loads(path.read_text(encoding="utf-8"))["stations"]
    except (OSError, ValueError, KeyError):
        return {}
    return {station["station_id"]: station["password"] for station in stations}


def _fleet_description(
    configuration: Configuration, fleet: list[DemoCharger], passwords: dict[str, str]
) -> dict[str, Any]:
    authority = configuration.local_ca_directory or configuration.var_directory / "ca"
    return {
        "stations": [
            {
                "station_id": item.station_id,
                "serial_number": item.serial_number,
                "vendor": STATION_VENDOR,
                "model": STATION_MODEL,
                "password": passwords[item.station_id],
                "quirks": item.quirks,
            }
            for item in fleet
        ],
        "roots": [
            str((authority / domain / "root.pem").resolve()) for domain in ("charger_identity", "backend_server")
        ],
        "urls": {
            "profile2": configuration.profile2_url,
            "profile3": configuration.profile3_url,
        },
    }


class Onboarding:
    """What an operator would click for each charger, and what there is to tell: each thing once."""

    def __init__(self, fleet: list[DemoCharger]) -> None:
        self._fleet = fleet
        self._told: dict[str, str] = {}

    def round(self) -> Iterator[str]:
        """Issue where there is nothing, cut over what is installed.

        :returns: a sentence for each thing that is new.
        """
        for item in self._fleet:
            identity = ManagedIdentity.objects.get(kind="charger", authoritative_identifier=item.station_id)
            sentence = _onboard_one(identity) or _standing(identity, item)
            if sentence and self._told.get(item.station_id) != sentence:
                self._told[item.station_id] = sentence
                yield sentence


def _standing(identity: ManagedIdentity, item: DemoCharger) -> str | None:
    station = identity.authoritative_identifier
    if CertificateRecord.objects.of(identity.pk, CHARGER_IDENTITY.key).filter(state=RecordState.ACTIVE).exists():
        return f"{station}: active"
    last = CertificateJob.objects.filter(identity=identity).order_by("-pk").first()
    if last is not None and last.state == JobState.FAILED:
        return _intended(item, f"{station}: {last.outcome}")
    return None


def _intended(item: DemoCharger, sentence: str) -> str:
    """A sentence of a charger that is there to be refused says that this is no cause for worry."""
    return f"{sentence} This is intended: it {item.story}." if item.is_refused else sentence


def _onboard_one(identity: ManagedIdentity) -> str | None:
    station = identity.authoritative_identifier
    records = CertificateRecord.objects.of(identity.pk, CHARGER_IDENTITY.key)
    jobs = CertificateJob.objects.filter(identity=identity)
    try:
        if not jobs.exists():
            lifecycle.issue(
                identity=identity,
                purpose=CHARGER_IDENTITY.key,
                actor=FIRST_LOOK,
                reason="First certificate of a simulated charger",
            )
            return f"{station}: asked for its first certificate"
        installed = records.filter(state=RecordState.INSTALLED_PENDING_ACTIVATION).exists()
        cutting_over = jobs.filter(action=JobAction.CUT_OVER, state__in=JOB_OPEN_STATES).exists()
        if installed and not cutting_over and identity.security_profile < 3:
            station_commands.cut_over(
                identity=identity, actor=FIRST_LOOK, reason="First cut-over of a simulated charger"
            )
            return f"{station}: certificate installed, cutting over to Profile 3"
    except InventoryError as error:
        return f"{station}: {error}"
    return None
