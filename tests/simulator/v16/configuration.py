"""ChangeConfiguration and GetConfiguration: the keys of the security extension over the station's variables."""

from typing import TYPE_CHECKING

from tests.simulator.events import EventKind
from tests.simulator.frames import Payload
from tests.simulator.link import Answer
from tests.simulator.network import NetworkProfile
from tests.simulator.quirks import KeyForm
from tests.simulator.variables import profile_problem

if TYPE_CHECKING:
    from tests.simulator.station import SimulatedStation

KEY_BYTES = range(16, 21)
VARIABLES = {
    "CpoName": ("SecurityCtrlr", "OrganizationName"),
    "HeartbeatInterval": ("OCPPCommCtrlr", "HeartbeatInterval"),
    "CertSigningWaitMinimum": ("SecurityCtrlr", "CertSigningWaitMinimum"),
    "CertSigningRepeatTimes": ("SecurityCtrlr", "CertSigningRepeatTimes"),
    "AdditionalRootCertificateCheck": ("SecurityCtrlr", "AdditionalRootCertificateCheck"),
    "CertificateSignedMaxChainSize": ("SecurityCtrlr", "MaxCertificateChainSize"),
    "ISO15118PnCEnabled": ("ISO15118Ctrlr", "PnCEnabled"),
    "ISO15118CertificateManagementEnabled": ("ISO15118Ctrlr", "V2GCertificateInstallationEnabled"),
    "SeccLeafSubjectCommonName": ("ISO15118Ctrlr", "SeccId"),
    "SeccLeafSubjectCountry": ("ISO15118Ctrlr", "CountryName"),
    "SeccLeafSubjectOrganization": ("ISO15118Ctrlr", "OrganizationName"),
}
READ_ONLY = {"AdditionalRootCertificateCheck", "CertificateSignedMaxChainSize", "CertificateStoreMaxLength"}
KEYS = (*VARIABLES, "AuthorizationKey", "SecurityProfile", "CertificateStoreMaxLength")


def change_configuration(station: "SimulatedStation", payload: Payload) -> Answer:
    """One key; a new AuthorizationKey is used by connecting again, a new SecurityProfile from the next boot on."""
    key, value = payload["key"], payload["value"]
    if key == "AuthorizationKey":
        return _change_authorization_key(station, value)
    if key == "SecurityProfile":
        return Answer({"status": _change_security_profile(station, value)})
    if key not in KEYS:
        return Answer({"status": "NotSupported"})
    if key in READ_ONLY:
        return Answer({"status": "Rejected"})
    return Answer({"status": station.variables.change(*VARIABLES[key], value).status})


def get_configuration(station: "SimulatedStation", payload: Payload) -> Answer:
    """What is asked for, or everything. A key that can only be written is listed without its value."""
    asked = payload.get("key") or KEYS
    answer: Payload = {"configurationKey": [_entry(station, key) for key in asked if key in KEYS]}
    if unknown := [key for key in asked if key not in KEYS]:
        answer["unknownKey"] = unknown
    return Answer(answer)


def _entry(station: "SimulatedStation", key: str) -> Payload:
    entry: Payload = {"key": key, "readonly": key in READ_ONLY}
    if key in VARIABLES:
        entry["value"] = station.variables.get(*VARIABLES[key])
    elif key == "SecurityProfile":
        entry["value"] = str(station.security_profile)
    elif key == "CertificateStoreMaxLength":
        entry["value"] = str(station.variables.store_size)
    elif station.quirks.shows_key:
        entry["value"] = station.store.state.password
    return entry


def _change_authorization_key(station: "SimulatedStation", digits: str) -> Answer:
    try:
        key = bytes.fromhex(digits)
    except ValueError:
        return Answer({"status": "Rejected"})
    if len(key) not in KEY_BYTES:
        return Answer({"status": "Rejected"})
    change = station.variables.change("SecurityCtrlr", "BasicAuthPassword", _password(key, digits, station))
    return Answer({"status": change.status}, departure=change.departure)


def _password(key: bytes, digits: str, station: "SimulatedStation") -> str:
    """What the station will send as its password. A key of other bytes than characters it cannot store decoded."""
    form = station.quirks.key_form
    text = key.decode("ascii", "replace")
    if form is KeyForm.AS_SENT or (form is KeyForm.DECODED_IF_PRINTABLE and not text.isprintable()):
        return digits
    return text if text.isascii() else ""


def _change_security_profile(station: "SimulatedStation", value: str) -> str:
    """Whitepaper A05: same address, other profile; used when the station has restarted."""
    state, slot = station.store.state, station.slot
    if value not in {"1", "2", "3"} or slot is None:
        return "Rejected"
    profile = NetworkProfile(int(value), state.network_profiles[slot].url)
    if profile_problem(station, profile):
        return "Rejected"
    if profile.security_profile == station.security_profile:
        state.network_priority = [slot]
    else:
        free = 1 if slot != 1 else 2
        state.network_profiles[free] = profile
        state.network_priority = [free, slot] if station.quirks.falls_back_to_profile_2 else [free]
        station.record(
            EventKind.NETWORK_PROFILE_SET, slot=free, security_profile=profile.security_profile, url=profile.url
        )
    station.store.save()
    return "Accepted"
