"""Commands as OCPP 2.0.1 requests, and how their answers are to be understood."""

from collections.abc import Callable
from typing import Final

from bfcerts.ocpp.canonical import Action, CommandOutcome, Payload
from bfcerts.ocpp.protocol import Answer, Request

TRIGGERS: Final = {
    "ChargingStationCertificate": "SignChargingStationCertificate",
    "V2GCertificate": "SignV2GCertificate",
    "CombinedCertificate": "SignCombinedCertificate",
}

_ACCEPTED: Final = {
    # A02.FR.01, F06
    "TriggerMessage": {"Accepted"},
    "CertificateSigned": {"Accepted"},
    "InstallCertificate": {"Accepted"},
    # M03.FR.02: NotFound is the answer of a station that holds none of the types asked for
    "GetInstalledCertificateIds": {"Accepted", "NotFound"},
    "DeleteCertificate": {"Accepted"},
    # N01.FR.12: AcceptedCanceled took the place of an upload that was still under way
    "GetLog": {"Accepted", "AcceptedCanceled"},
    "SetNetworkProfile": {"Accepted"},
    "Reset": {"Accepted", "Scheduled"},
    # B05.FR.10: RebootRequired is accepted and takes effect after a reboot
    "SetVariables": {"Accepted", "RebootRequired"},
    "GetVariables": {"Accepted"},
}


def _trigger_message(payload: Payload) -> Request:
    return Request("TriggerMessage", {"requestedMessage": TRIGGERS[payload["certificate_type"]]})


def _certificate_signed(payload: Payload) -> Request:
    message = {"certificateChain": payload["chain"]}
    if payload["certificate_type"] is not None:
        message["certificateType"] = payload["certificate_type"]
    return Request("CertificateSigned", message)


def _install_certificate(payload: Payload) -> Request:
    return Request("InstallCertificate", {"certificateType": payload["use"], "certificate": payload["certificate"]})


def _get_installed_certificate_ids(payload: Payload) -> Request:
    uses = payload["uses"]
    return Request("GetInstalledCertificateIds", {"certificateType": uses} if uses else {})


def _delete_certificate(payload: Payload) -> Request:
    return Request("DeleteCertificate", {"certificateHashData": payload["hash_data"]})


def _get_log(payload: Payload) -> Request:
    return Request(
        "GetLog",
        {
            "logType": payload["log_type"],
            "requestId": payload["request_id"],
            "log": {"remoteLocation": payload["remote_location"]},
        },
    )


def _set_variables(payload: Payload) -> Request:
    data = [
        {"component": {"name": component}, "variable": {"name": variable}, "attributeValue": value}
        for component, variable, value in payload["variables"]
    ]
    return Request("SetVariables", {"setVariableData": data})


def _get_variables(payload: Payload) -> Request:
    data = [
        {"component": {"name": component}, "variable": {"name": variable}}
        for component, variable in payload["variables"]
    ]
    return Request("GetVariables", {"getVariableData": data})


def _set_network_profile(payload: Payload) -> Request:
    connection = {
        "ocppVersion": "OCPP20",
        "ocppTransport": "JSON",
        "ocppCsmsUrl": payload["url"],
        "messageTimeout": payload.get("message_timeout_seconds", 30),
        "securityProfile": payload["security_profile"],
        "ocppInterface": payload.get("interface", "Wired0"),
    }
    return Request("SetNetworkProfile", {"configurationSlot": payload["slot"], "connectionData": connection})


def _reset(payload: Payload) -> Request:
    return Request("Reset", {"type": payload["kind"]})


BUILDERS: Final[dict[Action, Callable[[Payload], Request]]] = {
    Action.REQUEST_CSR: _trigger_message,
    Action.DELIVER_CERTIFICATE: _certificate_signed,
    Action.INSTALL_CERTIFICATE: _install_certificate,
    Action.LIST_CERTIFICATES: _get_installed_certificate_ids,
    Action.DELETE_CERTIFICATE: _delete_certificate,
    Action.GET_LOG: _get_log,
    Action.SET_VARIABLES: _set_variables,
    Action.GET_VARIABLES: _get_variables,
    Action.SET_NETWORK_PROFILE: _set_network_profile,
    Action.RESET: _reset,
}


def judge(action: str, answer: Payload) -> Answer:
    """How a command ended, from an answer that satisfies its schema.

    SetVariables and GetVariables answer for each variable: the command is accepted when all of them are, and shows
    the first status that is not plainly Accepted.
    """
    results = answer.get("setVariableResult") or answer.get("getVariableResult")
    if results is None:
        statuses = [(answer["status"], answer.get("statusInfo"))]
    else:
        statuses = [(one["attributeStatus"], one.get("attributeStatusInfo")) for one in results]
    for status, info in statuses:
        if status not in _ACCEPTED[action]:
            return Answer(CommandOutcome.REJECTED, status, info)
    status, info = next((one for one in statuses if one[0] != "Accepted"), statuses[0])
    return Answer(CommandOutcome.ACCEPTED, status, info)
