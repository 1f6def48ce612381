"""Descriptions of a fleet: from a JSON file, or from the command line. Errors are one sentence each.

    {"stations": [{"station_id": "CS-0001", "serial_number": "SN1", "vendor": "…", "model": "…", "firmware": "…",
                   "password": "…", "key_type": "P-256", "protocol": "ocpp2.0.1", "quirks": {}}],
     "roots": ["root.pem"],
     "urls": {"profile2": "wss://…", "profile3": "wss://…", "dual": "wss://…"},
     "timings": {}}

Paths of roots count from the folder of the file.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography import x509
from pydantic import ConfigDict, TypeAdapter, ValidationError

from tests.simulator.dialect import Version
from tests.simulator.identity import KeyType
from tests.simulator.problems import problems_of
from tests.simulator.quirks import Quirks
from tests.simulator.timings import Timings

EVERY_STATION = "*"


class FleetError(Exception):
    """The description of the fleet cannot be used; the message says where and why."""


@dataclass(frozen=True, slots=True)
class StationDescription:
    """One station; what is left out has a default, and a station that exists already keeps what its folder says."""

    station_id: str
    serial_number: str = ""
    vendor: str = "Example Charging"
    model: str = "AC22"
    firmware: str = "1.4.0"
    password: str = field(default="", repr=False)
    key_type: KeyType = KeyType.P256
    protocol: Version = "ocpp2.0.1"
    quirks: Quirks = field(default_factory=Quirks)

    __pydantic_config__ = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class FleetDescription:
    """Many stations at one CSMS."""

    stations: tuple[StationDescription, ...] = ()
    roots: tuple[Path, ...] = ()
    urls: Mapping[str, str] = field(default_factory=dict)
    """Keys: profile2, profile3, dual."""
    timings: Timings = field(default_factory=Timings)

    __pydantic_config__ = ConfigDict(extra="forbid")

    def url(self, security_profile: int) -> str:
        """Where a station of that profile begins.

        :raises FleetError: no address fits.
        """
        url = self.urls.get(f"profile{security_profile}") or self.urls.get("dual")
        if not url:
            raise FleetError(
                f"there is no address for security profile {security_profile}; "
                f"give --url-profile{security_profile} or --url-dual"
            )
        return url

    def root_certificates(self) -> list[x509.Certificate]:
        """The roots that a new station is delivered with.

        :raises FleetError: a file is missing or holds no certificate.
        """
        certificates = []
        for path in self.roots:
            try:
                certificates += x509.load_pem_x509_certificates(path.read_bytes())
            except (OSError, ValueError) as error:
                raise FleetError(f"the root {path} cannot be used: {error}") from None
        return certificates


def read_fleet_file(path: Path) -> FleetDescription:
    """
    :raises FleetError: names the entry that is wrong.
    """
    try:
        description = TypeAdapter(FleetDescription).validate_python(read_json(path))
    except ValidationError as error:
        raise FleetError(f"{path}: {problems_of(error)}") from None
    return replace(description, roots=tuple(path.parent / root for root in description.roots))


def with_passwords(fleet: FleetDescription, passwords: Mapping[str, Any]) -> FleetDescription:
    """The same fleet with the passwords of a map station → password."""
    return replace(
        fleet,
        stations=tuple(
            replace(station, password=str(passwords.get(station.station_id, station.password)))
            for station in fleet.stations
        ),
    )


def with_quirks(fleet: FleetDescription, quirks: Mapping[str, Any]) -> FleetDescription:
    """The same fleet with the quirks of a map station → quirks; '*' is for all that are not named.

    :raises QuirksError: a switch is unknown.
    """

    def of(station: StationDescription) -> Quirks:
        mapping = quirks.get(station.station_id, quirks.get(EVERY_STATION))
        return station.quirks if mapping is None else Quirks.from_mapping(mapping)

    return replace(fleet, stations=tuple(replace(station, quirks=of(station)) for station in fleet.stations))


def read_json(path: Path) -> dict[str, Any]:
    """
    :raises FleetError: the file is missing or is no JSON object.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise FleetError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise FleetError(f"{path} must hold a JSON object")
    return content


def write_fleet_file(fleet: FleetDescription, path: Path) -> None:
    """Write what `read_fleet_file` reads; the file holds passwords, and is its owner's alone."""
    content = TypeAdapter(FleetDescription).dump_python(fleet, mode="json")
    content["stations"] = [
        {**described, "quirks": station.quirks.to_mapping()}
        for described, station in zip(content["stations"], fleet.stations, strict=True)
    ]
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
