"""A mixed fleet: charger families as they are met in the field, each with its own quirks, and misfortunes on top.

The same seed gives the same fleet, station by station, so that a run can be repeated.
"""

import random
import string
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tests.simulator.dialect import Version
from tests.simulator.fleet_file import StationDescription
from tests.simulator.identity import KeyType
from tests.simulator.quirks import KeyForm, Quirks, SerialStyle, SubjectRule

KEY_LENGTH = 20
"""Characters of a first password: what every version and station takes."""


@dataclass(frozen=True, slots=True)
class Family:
    """Stations of one make; `weight` is their share of the fleet."""

    vendor: str
    model: str
    firmware: str
    protocol: Version
    quirks: Quirks = field(default_factory=Quirks)
    key_type: KeyType = KeyType.P256
    weight: int = 1


FAMILIES: Sequence[Family] = (
    Family("Example Charging", "AC22", "1.4.0", "ocpp2.0.1", weight=4),
    Family(
        "Example Charging",
        "DC150",
        "2.1.3",
        "ocpp2.0.1",
        Quirks(present_latest_not_after=True, serial_style=SerialStyle.UPPER_CASE),
        weight=2,
    ),
    Family(
        "Northwind Energy",
        "Pole-2",
        "5.0.1",
        "ocpp2.0.1",
        Quirks(
            needs_root_in_chain=True,
            subject_rule=SubjectRule.SERIAL_NUMBER,
            serial_style=SerialStyle.PADDED,
            second_key_slot=True,
        ),
        KeyType.RSA2048,
    ),
    Family("Legacy Power", "Wallbox", "3.9.2", "ocpp1.6", Quirks(falls_back_to_profile_2=True), weight=3),
    Family(
        "Legacy Power",
        "Wallbox Mini",
        "3.2.0",
        "ocpp1.6",
        Quirks(key_form=KeyForm.AS_SENT, store_size=2, rejects_root_in_chain=True, falls_back_to_profile_2=True),
        weight=2,
    ),
    Family(
        "Harbour Systems",
        "HS-50",
        "1.0.9",
        "ocpp1.6",
        Quirks(
            no_extended_trigger=True,
            key_form=KeyForm.DECODED_IF_PRINTABLE,
            password_needs_reboot=True,
            subject_rule=SubjectRule.SERIAL_NUMBER,
            lowers_profile=True,
            falls_back_to_profile_2=True,
            shows_key=True,
        ),
        weight=2,
    ),
    # Where the server's root and that of the station's certificate differ, it cannot move: it trusts one of them only.
    Family(
        "Harbour Systems",
        "HS-50 Compact",
        "1.0.9",
        "ocpp1.6",
        Quirks(only_last_root_trusted=True, falls_back_to_profile_2=True),
    ),
)

MISFORTUNES: Sequence[Quirks] = (
    Quirks(trigger_accepted_no_csr=True),
    Quirks(reject_install=True),
    Quirks(never_reconnect=True),
    Quirks(reconnect_with_old_certificate=True),
    Quirks(clock_offset_seconds=-400 * 86_400.0),
    Quirks(reject_root_install=True),
)
"""What befalls single stations, whatever their family."""


def mixed_fleet(count: int, seed: int, *, misfortune: float = 0.0) -> tuple[StationDescription, ...]:
    """Stations of all families, by weight, with serial numbers and first passwords of their own.

    :param misfortune: the share of stations that have one of the `MISFORTUNES`, 0 to 1.
    """
    chance = random.Random(seed)  # a simulation that is to be repeated, not a secret
    families = chance.choices(FAMILIES, [family.weight for family in FAMILIES], k=count)
    return tuple(_station(number, family, chance, misfortune) for number, family in enumerate(families, 1))


def _station(number: int, family: Family, chance: random.Random, misfortune: float) -> StationDescription:
    serial = "".join(chance.choices(string.digits, k=10))
    password = "".join(chance.choices(string.ascii_letters + string.digits, k=KEY_LENGTH))
    ill_fated = chance.random() < misfortune
    fate = chance.choice(MISFORTUNES)
    return StationDescription(
        station_id=f"CS-{number:04}",
        serial_number=serial,
        vendor=family.vendor,
        model=family.model,
        firmware=family.firmware,
        password=password,
        key_type=family.key_type,
        protocol=family.protocol,
        quirks=_with(family.quirks, fate) if ill_fated else family.quirks,
    )


def _with(quirks: Quirks, fate: Quirks) -> Quirks:
    return replace(quirks, **fate.to_mapping())
