"""The station's variables, named as in OCPP 2.0.1; another version's dialect maps its keys onto them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from tests.simulator.events import EventKind
from tests.simulator.link import Departure
from tests.simulator.network import NetworkProfile

if TYPE_CHECKING:
    from tests.simulator.station import SimulatedStation

PASSWORD_LENGTH = range(16, 41)
STORE_SIZE = 50
"""Roots that a station holds where no quirk says less."""


class Mutability(StrEnum):
    """Who may read and write."""

    READ_ONLY = "ReadOnly"
    READ_WRITE = "ReadWrite"
    WRITE_ONLY = "WriteOnly"


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable as delivered. `data_type` is a DataEnumType of OCPP 2.0.1."""

    component: str
    name: str
    mutability: Mutability
    data_type: str
    default: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one SetVariables entry; `status` is a SetVariableStatusEnumType."""

    status: str
    detail: str = ""
    departure: Departure | None = None


_RO, _RW, _WO = Mutability.READ_ONLY, Mutability.READ_WRITE, Mutability.WRITE_ONLY
VARIABLES = (
    Variable("SecurityCtrlr", "BasicAuthPassword", _WO, "string"),
    Variable("SecurityCtrlr", "Identity", _RO, "string"),
    Variable("SecurityCtrlr", "OrganizationName", _RW, "string", "Example Operator"),
    Variable("SecurityCtrlr", "AdditionalRootCertificateCheck", _RO, "boolean", "false"),
    Variable("SecurityCtrlr", "SecurityProfile", _RO, "integer"),
    Variable("SecurityCtrlr", "CertificateEntries", _RO, "integer"),
    Variable("SecurityCtrlr", "CertSigningWaitMinimum", _RW, "integer", "60"),
    Variable("SecurityCtrlr", "CertSigningRepeatTimes", _RW, "integer", "3"),
    Variable("SecurityCtrlr", "MaxCertificateChainSize", _RO, "integer", "10000"),
    Variable("SecurityCtrlr", "AllowSecurityProfileDowngrade", _RW, "boolean", "false"),
    Variable("OCPPCommCtrlr", "ActiveNetworkProfile", _RO, "integer"),
    Variable("OCPPCommCtrlr", "NetworkConfigurationPriority", _RW, "SequenceList"),
    Variable("OCPPCommCtrlr", "NetworkProfileConnectionAttempts", _RW, "integer", "3"),
    Variable("OCPPCommCtrlr", "HeartbeatInterval", _RW, "integer", "300"),
    Variable("OCPPCommCtrlr", "OfflineThreshold", _RW, "integer", "60"),
    Variable("ISO15118Ctrlr", "PnCEnabled", _RW, "boolean", "false"),
    Variable("ISO15118Ctrlr", "V2GCertificateInstallationEnabled", _RW, "boolean", "true"),
    Variable("ISO15118Ctrlr", "SeccId", _RW, "string"),
    Variable("ISO15118Ctrlr", "CountryName", _RW, "string"),
    Variable("ISO15118Ctrlr", "OrganizationName", _RW, "string"),
    Variable("ChargingStation", "Model", _RO, "string"),
    Variable("ChargingStation", "VendorName", _RO, "string"),
    Variable("ChargingStation", "SerialNumber", _RO, "string"),
    Variable("ChargingStation", "FirmwareVersion", _RO, "string"),
)
_BY_NAME = {(variable.component, variable.name): variable for variable in VARIABLES}
COMPONENTS = frozenset(variable.component for variable in VARIABLES)


def definition(component: str, name: str) -> Variable | None:
    return _BY_NAME.get((component, name))


class Variables:
    """Reads and changes the variables of one station; changed values are in its store."""

    def __init__(self, station: "SimulatedStation") -> None:
        self._station = station

    def get(self, component: str, name: str) -> str:
        """The value as text. BasicAuthPassword too: who may see it is the dialect's business."""
        state = self._station.store.state
        match component, name:
            case "SecurityCtrlr", "BasicAuthPassword":
                return state.password
            case ("SecurityCtrlr", "Identity"):
                return state.station_id
            case "SecurityCtrlr", "SecurityProfile":
                return str(state.security_profile)
            case "SecurityCtrlr", "CertificateEntries":
                return str(len(state.roots))
            case "OCPPCommCtrlr", "ActiveNetworkProfile":
                return str(self._station.slot or 0)
            case "OCPPCommCtrlr", "NetworkConfigurationPriority":
                return ",".join(str(slot) for slot in state.network_priority)
            case "OCPPCommCtrlr", "NetworkProfileConnectionAttempts":
                return self._stored(component, name, str(self._station.timings.attempts_per_profile))
            case "ChargingStation", "Model":
                return state.model
            case "ChargingStation", "VendorName":
                return state.vendor
            case "ChargingStation", "SerialNumber":
                return state.serial_number
            case "ChargingStation", "FirmwareVersion":
                return state.firmware
        return self._stored(component, name, _BY_NAME[component, name].default)

    @property
    def store_size(self) -> int:
        """How many roots the station can hold."""
        return self._station.quirks.store_size or STORE_SIZE

    def change(self, component: str, name: str, value: str) -> Change:
        """Set a variable as the CSMS asks (OCPP 2.0.1 B05)."""
        if component not in COMPONENTS:
            return Change("UnknownComponent")
        variable = definition(component, name)
        if variable is None:
            return Change("UnknownVariable")
        if variable.mutability is Mutability.READ_ONLY:
            return Change("Rejected", "the variable is read-only")
        if name == "BasicAuthPassword":
            return self._change_password(value)
        if name == "NetworkConfigurationPriority":
            return self._change_priority(value)
        if variable.data_type == "integer" and not value.isdecimal():
            return Change("Rejected", "the value is no number")
        if variable.data_type == "boolean" and value not in {"true", "false"}:
            return Change("Rejected", "the value is neither true nor false")
        self._station.store.state.variables[f"{component}.{name}"] = value
        self._station.store.save()
        return Change("Accepted")

    def _stored(self, component: str, name: str, delivered: str) -> str:
        return self._station.store.state.variables.get(f"{component}.{name}", delivered)

    def _change_password(self, value: str) -> Change:
        """OCPP 2.0.1 A01.FR.02-05: 16 to 40 characters, used at once by connecting again."""
        station = self._station
        if station.quirks.reject_password:
            return Change("Rejected", "this station keeps its password")
        if len(value) not in PASSWORD_LENGTH or not value.isprintable():
            return Change("Rejected", "a password has 16 to 40 printable characters")
        if station.quirks.password_needs_reboot:
            station.store.state.next_password = value
            station.store.save()
            return Change("RebootRequired")
        station.store.change_password(value, keep_previous=station.quirks.second_key_slot)
        station.record(EventKind.PASSWORD_CHANGED)
        leaves = station.security_profile in {1, 2} and not station.quirks.stays_after_password_change
        return Change("Accepted", departure=Departure.PASSWORD if leaves else None)

    def _change_priority(self, value: str) -> Change:
        """OCPP 2.0.1 A05.FR.01-04: every slot is there, none is lower, what it needs is installed."""
        station, state = self._station, self._station.store.state
        slots = [int(part) for part in value.split(",") if part.isdecimal()]
        if not slots or len(slots) != len(value.split(",")) or len(set(slots)) != len(slots):
            return Change("Rejected", "the value is no list of slots")
        for slot in slots:
            profile = state.network_profiles.get(slot)
            if profile is None:
                return Change("Rejected", f"slot {slot} holds no network profile")
            if problem := profile_problem(station, profile):
                return Change("Rejected", f"slot {slot}: {problem}")
        state.network_priority = slots
        station.store.save()
        station.record(EventKind.NETWORK_PRIORITY_SET, priority=slots)
        return Change("Accepted")


def lowers(station: "SimulatedStation") -> bool:
    """Whether the station takes a lower security profile than the one in use."""
    allowed = station.variables.get("SecurityCtrlr", "AllowSecurityProfileDowngrade") == "true"
    return allowed or station.quirks.lowers_profile


def profile_problem(station: "SimulatedStation", profile: NetworkProfile) -> str:
    """A05.FR.01-03: why a profile cannot be used; empty where it can."""
    state = station.store.state
    if profile.security_profile < station.security_profile and not lowers(station):
        return "its security profile is lower than the one in use"
    if profile.security_profile > 1 and not station.enrolment.trusted_roots():
        return "no CSMS root certificate is installed"
    if profile.security_profile == 3 and not state.leaves:
        return "no charging station certificate is installed"
    return ""
