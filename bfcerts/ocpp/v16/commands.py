"""Commands as OCPP 1.6 requests, and how their answers are to be understood.

What OCPP 2.0.1 writes into network profiles and their priority has no message here: the security profile is a
configuration key, and the station keeps its address (whitepaper A05).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from bfcerts.ocpp.canonical import (
    CHANGEABLE_SETTINGS,
    PLUG_AND_CHARGE_USES,
    V2G_CERTIFICATE,
    Action,
    CommandOutcome,
    Payload,
    ResetKind,
    Setting,
    is_plug_and_charge,
)
from bfcerts.ocpp.protocol import Answer, Request, UnsendableCommandError, refuse_lowering
from bfcerts.ocpp.v16 import plug_and_charge
from bfcerts.ocpp.v16.plug_and_charge import Transfer

KEYS: Final = {
    Setting.ORGANIZATION_NAME: "CpoName",
    Setting.ADDITIONAL_ROOT_CERTIFICATE_CHECK: "AdditionalRootCertificateCheck",
    Setting.CERTIFICATE_STORE_MAX_LENGTH: "CertificateStoreMaxLength",
    Setting.CERTIFICATE_CHAIN_MAX_SIZE: "CertificateSignedMaxChainSize",
    Setting.SECURITY_PROFILE: "SecurityProfile",
    Setting.PLUG_AND_CHARGE_ENABLED: "ISO15118PnCEnabled",
    Setting.V2G_CERTIFICATE_ENABLED: "ISO15118CertificateManagementEnabled",
    Setting.SECC_COMMON_NAME: "SeccLeafSubjectCommonName",
    Setting.SECC_COUNTRY: "SeccLeafSubjectCountry",
    Setting.SECC_ORGANIZATION: "SeccLeafSubjectOrganization",
}
# Stations write the names of keys in other cases than the specification does.
_SETTINGS: Final = {key.lower(): setting for setting, key in KEYS.items()}

USES: Final = {
    "CSMSRootCertificate": "CentralSystemRootCertificate",
    "ManufacturerRootCertificate": "ManufacturerRootCertificate",
}
_CANONICAL_USES: Final = {name: use for use, name in USES.items()}

KEY_BYTES: Final = range(16, 21)
"""Whitepaper §2.2, AuthorizationKey: 16 to 20 bytes, so 32 to 40 hexadecimal digits."""

_RESETS: Final = {
    ResetKind.ON_IDLE: "Soft",
    ResetKind.IMMEDIATE: "Hard",
    # TC_083: a changed security profile is applied by a hard reset.
    ResetKind.APPLY_CONFIGURATION: "Hard",
}

_ACCEPTED: Final = {
    "ExtendedTriggerMessage": {"Accepted"},
    "TriggerMessage": {"Accepted"},
    "CertificateSigned": {"Accepted"},
    "InstallCertificate": {"Accepted"},
    # M03: NotFound is the answer of a station that holds none of the type asked for
    "GetInstalledCertificateIds": {"Accepted", "NotFound"},
    "DeleteCertificate": {"Accepted"},
    # N01: AcceptedCanceled took the place of an upload that was still under way
    "GetLog": {"Accepted", "AcceptedCanceled"},
    "Reset": {"Accepted"},
    # §7.22: RebootRequired is accepted and takes effect after a reboot
    "ChangeConfiguration": {"Accepted", "RebootRequired"},
}


Built = Request | Transfer | None
"""A message of 1.6, or one of 2.0.1 that goes into DataTransfer in the dialect of the charger family."""


def trigger(payload: Payload) -> Payload:
    """What ExtendedTriggerMessage carries for a certificate; without connectorId (TC_074)."""
    if payload["certificate_type"] not in ("ChargingStationCertificate", "CombinedCertificate"):
        raise UnsendableCommandError(f"a station makes no request for {payload['certificate_type']!r}")
    return {"requestedMessage": "SignChargePointCertificate"}


def _extended_trigger_message(payload: Payload) -> Built:
    if is_plug_and_charge(payload):
        return plug_and_charge.trigger(payload["certificate_type"])
    return Request("ExtendedTriggerMessage", trigger(payload))


def _certificate_signed(payload: Payload) -> Built:
    if payload["certificate_type"] == V2G_CERTIFICATE:
        message = {"certificateChain": payload["chain"], "certificateType": V2G_CERTIFICATE}
        return Transfer("CertificateSigned", message)
    return Request("CertificateSigned", {"certificateChain": payload["chain"]})


def _use(name: str) -> str:
    if name not in USES:
        raise UnsendableCommandError(
            f"an OCPP 1.6 station keeps no {name}; it knows {' and '.join(USES)}, and for Plug and Charge "
            f"{', '.join(sorted(PLUG_AND_CHARGE_USES))}"
        )
    return USES[name]


def _install_certificate(payload: Payload) -> Built:
    if payload["use"] in PLUG_AND_CHARGE_USES:
        message = {"certificateType": payload["use"], "certificate": payload["certificate"]}
        return Transfer("InstallCertificate", message)
    message = {"certificateType": _use(payload["use"]), "certificate": payload["certificate"]}
    return Request("InstallCertificate", message)


def _get_installed_certificate_ids(payload: Payload) -> Built:
    """One type for each message: of all types it is the one that decides whether the station can connect."""
    uses = payload["uses"] or ["CSMSRootCertificate"]
    if len(uses) > 1:
        raise UnsendableCommandError("OCPP 1.6 lists one use for each message; ask for one after the other")
    if uses[0] in PLUG_AND_CHARGE_USES:
        return Transfer("GetInstalledCertificateIds", {"certificateType": uses})
    return Request("GetInstalledCertificateIds", {"certificateType": _use(uses[0])})


def _delete_certificate(payload: Payload) -> Built:
    if payload.get("use"):
        return Transfer("DeleteCertificate", {"certificateHashData": payload["hash_data"]})
    return Request("DeleteCertificate", {"certificateHashData": payload["hash_data"]})


def _get_log(payload: Payload) -> Request:
    log = {"remoteLocation": payload["remote_location"]}
    return Request("GetLog", {"logType": payload["log_type"], "requestId": payload["request_id"], "log": log})


def _change(key: str, value: str) -> Request:
    return Request("ChangeConfiguration", {"key": key, "value": value})


def _key_name(component: str, name: str) -> str:
    if component:
        raise UnsendableCommandError(
            f"OCPP 1.6 has no component {component}; what every version has is a setting, and a key of one station "
            "model is named without a component"
        )
    return name


def _set_variables(payload: Payload) -> Request:
    variables = payload["variables"]
    if len(variables) != 1:
        raise UnsendableCommandError("OCPP 1.6 changes one key for each message; send one after the other")
    ((component, name, value),) = variables
    key = _key_name(component, name)
    if key.lower() in {"authorizationkey", "securityprofile"}:
        raise UnsendableCommandError(f"{key} is changed by a command of its own, which keeps the station reachable")
    return _change(key, value)


def _get_variables(payload: Payload) -> Request:
    keys = [_key_name(component, name) for component, name in payload["variables"]]
    if not keys:
        raise UnsendableCommandError("name the configuration keys that are asked for")
    return Request("GetConfiguration", {"key": keys})


def _get_settings(payload: Payload) -> Request:
    keys = [KEYS[Setting(name)] for name in payload["settings"]]
    if not keys:
        raise UnsendableCommandError("name the settings that are asked for")
    return Request("GetConfiguration", {"key": keys}, Action.GET_SETTINGS)


def _change_setting(payload: Payload) -> Request:
    setting = Setting(payload["setting"])
    if setting not in CHANGEABLE_SETTINGS:
        raise UnsendableCommandError(f"{setting} can be read only")
    return _change(KEYS[setting], payload["value"])


def _set_authorization_key(payload: Payload) -> Request:
    """TC_073: the bytes of the key as hexadecimal digits; what a station makes of them, the password door knows."""
    key = payload["authorization_key"].encode()
    if len(key) not in KEY_BYTES:
        raise UnsendableCommandError(
            f"an OCPP 1.6 station takes keys of {KEY_BYTES.start} to {KEY_BYTES.stop - 1} bytes"
        )
    return _change("AuthorizationKey", key.hex())


def _set_security_profile(payload: Payload) -> Request:
    refuse_lowering(payload)
    return _change("SecurityProfile", str(payload["security_profile"]))


def _set_network_profile(payload: Payload) -> None:
    """The station keeps its address; `set_security_profile` says the rest."""
    refuse_lowering(payload)


def _set_network_priority(payload: Payload) -> None:
    """There is one address, hence no priority."""


def _reset(payload: Payload) -> Request:
    return Request("Reset", {"type": _RESETS[ResetKind(payload["kind"])]})


BUILDERS: Final[Mapping[Action, Callable[[Payload], Built]]] = MappingProxyType(
    {
        Action.REQUEST_CSR: _extended_trigger_message,
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
)


def judge(request: Request, answer: Payload) -> Answer:
    """How a command ended, from an answer that satisfies its schema. 1.6 gives no reasons.

    GetConfiguration has no status: a key that the station does not know is an answer, and for plain keys a refusal.
    """
    if request.action == "GetConfiguration":
        return _configuration(request, answer)
    if request.action == "DataTransfer":
        return plug_and_charge.judge(request, answer)
    status = answer["status"]
    outcome = CommandOutcome.ACCEPTED if status in _ACCEPTED[request.action] else CommandOutcome.REJECTED
    content: Payload = {"status": status}
    if request.action == "GetInstalledCertificateIds":
        use = _CANONICAL_USES[request.payload["certificateType"]]
        listed = answer.get("certificateHashData", [])
        content["uses"] = [use]
        content["certificates"] = [{"use": use, "hash_data": hash_data, "children": []} for hash_data in listed]
    return Answer(outcome, status, None, content)


def _configuration(request: Request, answer: Payload) -> Answer:
    known = {one["key"].lower(): one for one in answer.get("configurationKey", [])}
    asked = [(key, known.get(key.lower())) for key in request.payload["key"]]
    if request.command is Action.GET_SETTINGS:
        settings = [
            {
                "name": _SETTINGS[key.lower()],
                "value": one.get("value") if one else None,
                "read_only": _SETTINGS[key.lower()] not in CHANGEABLE_SETTINGS or bool(one and one["readonly"]),
            }
            for key, one in asked
        ]
        return Answer(CommandOutcome.ACCEPTED, "Accepted", None, {"status": "Accepted", "settings": settings})
    status = "Accepted" if all(one for _, one in asked) else "UnknownKey"
    variables = [
        {
            "component": "",
            "name": key,
            "status": "Accepted" if one else "UnknownKey",
            "value": one.get("value") if one else None,
        }
        for key, one in asked
    ]
    outcome = CommandOutcome.ACCEPTED if status == "Accepted" else CommandOutcome.REJECTED
    return Answer(outcome, status, None, {"status": status, "variables": variables})
