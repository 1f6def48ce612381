"""TriggerMessage, Reset, SetNetworkProfile, GetLog (OCPP 2.0.1 F06, B11/B12, B09, N01)."""

from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.simulator.dialect import BootReason
from tests.simulator.events import EventKind
from tests.simulator.frames import Payload
from tests.simulator.link import Answer, Departure
from tests.simulator.network import SLOTS, NetworkProfile
from tests.simulator.variables import lowers

if TYPE_CHECKING:
    from tests.simulator.station import SimulatedStation


def trigger_message(station: "SimulatedStation", payload: Payload) -> Answer:
    """F06: do what is asked after the answer; what the station cannot do is NotImplemented."""
    quirks = station.quirks
    match payload["requestedMessage"]:
        case "SignChargingStationCertificate":
            if quirks.second_csr_refused_while_pending and station.enrolment.pending:
                return Answer({"status": "Rejected"})
            if quirks.trigger_accepted_no_csr:
                return Answer({"status": "Accepted"})
            return Answer({"status": "Accepted"}, after=station.enrolment.request_until_signed)
        case "SignV2GCertificate":
            if station.evse.refuses_trigger():
                return Answer({"status": "Rejected"})
            return Answer({"status": "Accepted"}, after=station.evse.request_unless_silent)
        case "BootNotification":
            return Answer({"status": "Accepted"}, after=partial(_boot, station))
        case "Heartbeat":
            return Answer({"status": "Accepted"}, after=partial(_heartbeat, station))
        case "StatusNotification":
            return Answer({"status": "Accepted"}, after=partial(station.dialect.announce_status, station))
        case "LogStatusNotification":
            return Answer({"status": "Accepted"}, after=partial(station.dialect.log_status, station, 0, "Idle"))
    return Answer({"status": "NotImplemented"})


def reset(station: "SimulatedStation", payload: Payload) -> Answer:
    """B11, B12: the whole station restarts; a single EVSE cannot."""
    if "evseId" in payload:
        return Answer({"status": "Rejected", "statusInfo": {"reasonCode": "UnsupportedParam"}})
    kind = payload["type"]
    station.record(EventKind.RESETTING, kind=kind)
    station.life.boot_again(BootReason.REMOTE_RESET if kind == "Immediate" else BootReason.SCHEDULED_RESET)
    return Answer({"status": "Accepted"}, departure=Departure.RESET)


def set_network_profile(station: "SimulatedStation", payload: Payload) -> Answer:
    """B09: keep a profile in a free slot; never a lower one than in use (B09.FR.04)."""
    slot, data = payload["configurationSlot"], payload["connectionData"]
    profile = NetworkProfile(data["securityProfile"], data["ocppCsmsUrl"])
    if problem := _profile_refusal(station, slot, data, profile):
        info = {"reasonCode": "InvalidProfile", "additionalInfo": problem}
        return Answer({"status": "Rejected", "statusInfo": info})
    station.store.state.network_profiles[slot] = profile
    station.store.save()
    station.record(EventKind.NETWORK_PROFILE_SET, slot=slot, security_profile=profile.security_profile, url=profile.url)
    return Answer({"status": "Accepted"})


def get_log(station: "SimulatedStation", payload: Payload) -> Answer:
    """N01: a security log or a short diagnostics file, uploaded after the answer."""
    log_type, request_id = payload["logType"], payload["requestId"]
    content = station.security_log.content() if log_type == "SecurityLog" else b"diagnostics: none\n"
    upload = partial(station.uploads.upload, payload["log"]["remoteLocation"], request_id, content)
    status = "AcceptedCanceled" if station.uploads.busy else "Accepted"
    station.uploads.cancel()
    answer = {"status": status, "filename": f"{log_type}-{request_id}.log"}
    if station.quirks.log_status_before_answer:
        return Answer(answer, before=upload)
    return Answer(answer, after=upload)


async def _boot(station: "SimulatedStation") -> None:
    await station.dialect.boot(station, BootReason.TRIGGERED)


async def _heartbeat(station: "SimulatedStation") -> None:
    await station.dialect.heartbeat(station)


def _profile_refusal(station: "SimulatedStation", slot: int, data: Payload, profile: NetworkProfile) -> str:
    """Why a profile is not kept; empty where it is."""
    if slot not in SLOTS:
        return f"the station has the slots {', '.join(str(each) for each in SLOTS)}"
    if slot == station.slot:
        return f"slot {slot} is in use"
    if data["ocppVersion"] != "OCPP20" or data["ocppTransport"] != "JSON":
        return "the station speaks OCPP 2.0.1 over JSON only"
    if profile.security_profile not in {1, 2, 3}:
        return "there are the security profiles 1, 2 and 3"
    scheme = "ws" if profile.security_profile == 1 else "wss"
    if urlsplit(profile.url).scheme != scheme or not urlsplit(profile.url).hostname:
        return f"security profile {profile.security_profile} needs a {scheme}:// address"
    if profile.security_profile < station.security_profile and not lowers(station):
        return "the security profile is lower than the one in use"
    return ""
