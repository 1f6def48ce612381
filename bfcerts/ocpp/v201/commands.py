"""Commands as OCPP 2.0.1 requests, and how their answers are to be understood."""

from collections.abc import Callable, Sequence
from typing import Final

from bfcerts.ocpp.canonical import CHANGEABLE_SETTINGS, Action, CommandOutcome, Payload, ResetKind, Setting
from bfcerts.ocpp.protocol import Answer, Request, UnsendableCommandError, refuse_lowering

TRIGGERS: Final = {
    "ChargingStationCertificate": "SignChargingStationCertificate",
    "V2GCertificate": "SignV2GCertificate",
    "CombinedCertificate": "SignCombinedCertificate",
}

VARIABLES: Final = {
    Setting.ORGANIZATION_NAME: ("SecurityCtrlr", "OrganizationName", "Actual"),
    Setting.ADDITIONAL_ROOT_CERTIFICATE_CHECK: ("SecurityCtrlr", "AdditionalRootCertificateCheck", "Actual"),
    # The value counts what is installed now; its limit is what can be.
    Setting.CERTIFICATE_STORE_MAX_LENGTH: ("SecurityCtrlr", "CertificateEntries", "MaxSet"),
    Setting.CERTIFICATE_CHAIN_MAX_SIZE: ("SecurityCtrlr", "MaxCertificateChainSize", "Actual"),
    Setting.SECURITY_PROFILE: ("SecurityCtrlr", "SecurityProfile", "Actual"),
    Setting.PLUG_AND_CHARGE_ENABLED: ("ISO15118Ctrlr", "PnCEnabled", "Actual"),
    Setting.V2G_CERTIFICATE_ENABLED: ("ISO15118Ctrlr", "V2GCertificateInstallationEnabled", "Actual"),
    Setting.SECC_COMMON_NAME: ("ISO15118Ctrlr", "SeccId", "Actual"),
    Setting.SECC_COUNTRY: ("ISO15118Ctrlr", "CountryName", "Actual"),
    Setting.SECC_ORGANIZATION: ("ISO15118Ctrlr", "OrganizationName", "Actual"),
}
_SETTINGS: Final = {place: setting for setting, place in VARIABLES.items()}

_RESETS: Final = {
    ResetKind.ON_IDLE: "OnIdle",
    ResetKind.IMMEDIATE: "Immediate",
    ResetKind.APPLY_CONFIGURATION: "OnIdle",
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
    return _set([tuple(triple) for triple in payload["variables"]])


def _set(variables: Sequence[tuple[str, str, str]]) -> Request:
    data = [{**_variable(component, variable), "attributeValue": value} for component, variable, value in variables]
    return Request("SetVariables", {"setVariableData": data})


def _get_variables(payload: Payload) -> Request:
    data = [_variable(component, variable) for component, variable in payload["variables"]]
    return Request("GetVariables", {"getVariableData": data})


def _variable(component: str, variable: str) -> Payload:
    if not component:
        raise UnsendableCommandError(f"OCPP 2.0.1 knows no variable without a component; name that of {variable}")
    return {"component": {"name": component}, "variable": {"name": variable}}


def _get_settings(payload: Payload) -> Request:
    data = []
    for name in payload["settings"]:
        component, variable, attribute = VARIABLES[Setting(name)]
        data.append({**_variable(component, variable), "attributeType": attribute})
    return Request("GetVariables", {"getVariableData": data}, Action.GET_SETTINGS)


def _change_setting(payload: Payload) -> Request:
    setting = Setting(payload["setting"])
    if setting not in CHANGEABLE_SETTINGS:
        raise UnsendableCommandError(f"{setting} can be read only")
    component, variable, _ = VARIABLES[setting]
    return _set([(component, variable, payload["value"])])


def _set_authorization_key(payload: Payload) -> Request:
    """A01.FR.02; the password is sent as it is, never as hexadecimal."""
    if not 16 <= len(payload["authorization_key"]) <= 40:
        raise UnsendableCommandError("an OCPP 2.0.1 station takes passwords of 16 to 40 characters")
    return _set([("SecurityCtrlr", "BasicAuthPassword", payload["authorization_key"])])


def _set_network_priority(payload: Payload) -> Request:
    slots = payload["slots"]
    if not slots:
        raise UnsendableCommandError("an empty network priority would leave the station without a way in")
    value = ",".join(str(int(slot)) for slot in slots)
    return _set([("OCPPCommCtrlr", "NetworkConfigurationPriority", value)])


def _set_security_profile(payload: Payload) -> None:
    """A05: the profile is part of the network profile, and SecurityCtrlr.SecurityProfile is read-only."""
    refuse_lowering(payload)


def _set_network_profile(payload: Payload) -> Request:
    refuse_lowering(payload)
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
    return Request("Reset", {"type": _RESETS[ResetKind(payload["kind"])]})


BUILDERS: Final[dict[Action, Callable[[Payload], Request | None]]] = {
    Action.REQUEST_CSR: _trigger_message,
    Action.DELIVER_CERTIFICATE: _certificate_signed,
    Action.INSTALL_CERTIFICATE: _install_certificate,
    Action.LIST_CERTIFICATES: _get_installed_certificate_ids,
    Action.DELETE_CERTIFICATE: _delete_certificate,
    Action.GET_LOG: _get_log,
    Action.SET_VARIABLES: _set_variables,
    Action.GET_VARIABLES: _get_variables,
    Action.GET_SETTINGS: _get_settings,
    Action.CHANGE_SETTING: _change_setting,
    Action.SET_AUTHORIZATION_KEY: _set_authorization_key,
    Action.SET_NETWORK_PROFILE: _set_network_profile,
    Action.SET_NETWORK_PRIORITY: _set_network_priority,
    Action.SET_SECURITY_PROFILE: _set_security_profile,
    Action.RESET: _reset,
}


def judge(request: Request, answer: Payload) -> Answer:
    """How a command ended, from an answer that satisfies its schema.

    SetVariables and GetVariables answer for each variable: the command is accepted when all of them are, and shows
    the first status that is not plainly Accepted. Of settings, one that the station does not know is an answer too.
    """
    if request.command is Action.GET_SETTINGS:
        return Answer(CommandOutcome.ACCEPTED, "Accepted", None, _settings(answer))
    results = answer.get("setVariableResult") or answer.get("getVariableResult")
    if results is None:
        statuses = [(answer["status"], answer.get("statusInfo"))]
    else:
        statuses = [(one["attributeStatus"], one.get("attributeStatusInfo")) for one in results]
    refused = next((one for one in statuses if one[0] not in _ACCEPTED[request.action]), None)
    status, info = refused or next((one for one in statuses if one[0] != "Accepted"), statuses[0])
    outcome = CommandOutcome.REJECTED if refused else CommandOutcome.ACCEPTED
    return Answer(outcome, status, info, _content(request, status, answer))


def _content(request: Request, status: str, answer: Payload) -> Payload:
    content: Payload = {"status": status}
    if request.action == "GetInstalledCertificateIds":
        content["uses"] = request.payload.get("certificateType", [])
        content["certificates"] = [
            {
                "use": entry["certificateType"],
                "hash_data": entry["certificateHashData"],
                "children": entry.get("childCertificateHashData", []),
            }
            for entry in answer.get("certificateHashDataChain", [])
        ]
    elif request.action == "GetVariables":
        content["variables"] = [
            {
                "component": one["component"]["name"],
                "name": one["variable"]["name"],
                "status": one["attributeStatus"],
                "value": one.get("attributeValue"),
            }
            for one in answer["getVariableResult"]
        ]
    return content


def _settings(answer: Payload) -> Payload:
    settings = []
    for one in answer["getVariableResult"]:
        place = (one["component"]["name"], one["variable"]["name"], one.get("attributeType", "Actual"))
        setting = _SETTINGS.get(place)
        if setting is not None:
            value = one.get("attributeValue") if one["attributeStatus"] == "Accepted" else None
            settings.append({"name": setting, "value": value, "read_only": setting not in CHANGEABLE_SETTINGS})
    return {"status": "Accepted", "settings": settings}
