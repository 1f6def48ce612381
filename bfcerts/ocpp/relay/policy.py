"""What of a relayed conversation stays here.

Three tables for each version: what a station says to us alone, what an upstream may not ask of a station, and whose
answers could hold the station's password. Everything else passes. Names are compared without regard to case, because
stations do so (OCPP 2.0.1 part 1 §5, CiString of 1.6), and what was looked into is written anew before it is passed, so
that the station reads the very payload that was judged.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from bfcerts.ocpp.canonical import Payload
from bfcerts.ocpp.frames import Call
from bfcerts.ocpp.redaction import REDACTED
from bfcerts.ocpp.v16.plug_and_charge import HAS_TO_BE, PLUG_AND_CHARGE

_PLUG_AND_CHARGE: Final = frozenset({PLUG_AND_CHARGE, HAS_TO_BE})
"""The vendor ids under which 1.6 stations say the certificate messages of 2.0.1 in DataTransfer."""

REASON: Final = "Certificates, keys and security profiles of this charging station are managed elsewhere."

_KEPT: Final = frozenset({"SignCertificate", "SecurityEventNotification"})
_KEPT_OF: Final = {
    "ocpp2.0.1": _KEPT | {"Get15118EVCertificate", "GetCertificateStatus"},
    "ocpp1.6": _KEPT,
}
_KEPT_TRANSFERS: Final = frozenset({"signcertificate", "get15118evcertificate", "getcertificatestatus"})
_REFUSED_TRANSFERS: Final = frozenset({"certificatesigned", "installcertificate", "deletecertificate"})

_MANAGED_COMPONENTS: Final = frozenset({"securityctrlr", "networkconfiguration"})
_MANAGED_VARIABLES: Final = frozenset(
    {"basicauthpassword", "securityprofile", "networkconfigurationpriority", "additionalrootcertificatecheck"}
)
_MANAGED_KEYS: Final = frozenset({"authorizationkey", "securityprofile", "cponame", "additionalrootcertificatecheck"})
_PASSWORDS: Final = frozenset({"basicauthpassword", "authorizationkey"})

_MAY_HOLD_PASSWORDS: Final = frozenset(
    {"getvariables", "getconfiguration", "notifyreport", "notifymonitoringreport", "notifyevent"}
)
_VALUES: Final = frozenset({"attributeValue", "value", "actualValue"})


@dataclass(frozen=True, slots=True)
class Refused:
    """An upstream's call that its station never sees: the answer, and what it touched, for the operator."""

    answer: Payload
    touched: str


def stays_here(subprotocol: str, call: Call, upstream_logs: tuple[int, ...]) -> bool:
    """Whether what a station says is for us and not for its upstream.

    :param upstream_logs: the request ids of logs that the upstream asked for.
    """
    if call.action in _KEPT_OF[subprotocol]:
        return True
    if call.action == "LogStatusNotification":
        return call.payload.get("requestId") not in upstream_logs
    return call.action == "DataTransfer" and _transfer_of(call.payload) in _KEPT_TRANSFERS


def looked_into(call: Call) -> bool:
    """Whether the content of an upstream's call decides if it may pass."""
    return _folded(call.action) in _JUDGES


def refusal_of(subprotocol: str, call: Call) -> Refused | None:
    """What an upstream's call is refused with; None when it may pass.

    The answers are those that the schema of the message has for a refusal.
    """
    judge = _JUDGES.get(_folded(call.action))
    return judge(subprotocol, call.payload) if judge is not None else None


def without_passwords(action: str, payload: Payload) -> Payload | None:
    """A copy without the station's password, when there was one in it; else None.

    BasicAuthPassword of 2.0.1 and AuthorizationKey of 1.6 are write-only, yet stations were seen to return them.
    """
    if _folded(action) not in _MAY_HOLD_PASSWORDS or not _holds_password(payload):
        return None
    cleaned: Payload = _cleaned(payload)
    return cleaned


def _rejected(subprotocol: str, touched: str, status: str = "Rejected") -> Refused:
    if subprotocol == "ocpp1.6":
        return Refused({"status": status}, touched)
    return Refused({"status": status, "statusInfo": _info("NotEnabled")}, touched)


def _info(code: str) -> Payload:
    """StatusInfoType: its codes are those of OCPP 2.0.1 part 2, appendix 5."""
    return {"reasonCode": code, "additionalInfo": REASON}


def _always(name: str, status: str = "Rejected") -> Callable[[str, Payload], Refused | None]:
    return lambda subprotocol, payload: _rejected(subprotocol, name, status)


def _set_variables(subprotocol: str, payload: Payload) -> Refused | None:
    """Rejected as a whole: a part that is carried out beside one that is not is a state nobody asked for."""
    wanted = [item for item in _items(payload.get("setVariableData")) if isinstance(item, dict)]
    managed = [name for item in wanted if (name := _managed_variable(item))]
    if not managed:
        return None
    results = [
        {
            **({"attributeType": item["attributeType"]} if "attributeType" in item else {}),
            "attributeStatus": "Rejected",
            "attributeStatusInfo": _info("ReadOnly"),
            "component": item.get("component"),
            "variable": item.get("variable"),
        }
        for item in wanted
    ]
    return Refused({"setVariableResult": results}, f"SetVariables of {', '.join(managed[:5])}")


def _managed_variable(item: Payload) -> str:
    """Component and variable, where they are ours to set; else empty."""
    component, variable = _name_of(item.get("component")), _name_of(item.get("variable"))
    if _folded(component) in _MANAGED_COMPONENTS or _folded(variable) in _MANAGED_VARIABLES:
        return f"{component[:50]}.{variable[:50]}"
    return ""


def _change_configuration(subprotocol: str, payload: Payload) -> Refused | None:
    key = payload.get("key")
    if _folded(key) not in _MANAGED_KEYS:
        return None
    return Refused({"status": "Rejected"}, f"ChangeConfiguration of {str(key)[:50]}")


def _trigger(name: str) -> Callable[[str, Payload], Refused | None]:
    def judge(subprotocol: str, payload: Payload) -> Refused | None:
        message = payload.get("requestedMessage")
        if not _folded(message).startswith("sign"):
            return None
        return _rejected(subprotocol, f"{name} of {str(message)[:50]}")

    return judge


def _data_transfer(subprotocol: str, payload: Payload) -> Refused | None:
    transfer = _transfer_of(payload)
    if transfer in _REFUSED_TRANSFERS or transfer.startswith("trigger"):
        return _rejected(subprotocol, f"DataTransfer of {str(payload.get('messageId'))[:50]}")
    return None


def _transfer_of(payload: Payload) -> str:
    """The message that a DataTransfer of Plug and Charge carries; empty for every other vendor's."""
    return _folded(payload.get("messageId")) if _folded(payload.get("vendorId")) in _PLUG_AND_CHARGE else ""


_JUDGES: Final[dict[str, Callable[[str, Payload], Refused | None]]] = {
    "certificatesigned": _always("CertificateSigned"),
    "installcertificate": _always("InstallCertificate"),
    "deletecertificate": _always("DeleteCertificate", "Failed"),
    "setnetworkprofile": _always("SetNetworkProfile"),
    "setvariables": _set_variables,
    "changeconfiguration": _change_configuration,
    "triggermessage": _trigger("TriggerMessage"),
    "extendedtriggermessage": _trigger("ExtendedTriggerMessage"),
    "datatransfer": _data_transfer,
}


def _folded(name: Any) -> str:
    return name.strip().casefold() if isinstance(name, str) else ""


def _name_of(holder: Any) -> str:
    name = holder.get("name") if isinstance(holder, dict) else None
    return name if isinstance(name, str) else ""


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_password(holder: Payload) -> bool:
    """A result or report of 2.0.1 names a variable beside its value, a configuration key of 1.6 its own."""
    return _folded(_name_of(holder.get("variable"))) in _PASSWORDS or _folded(holder.get("key")) in _PASSWORDS


def _holds_password(value: Any) -> bool:
    if isinstance(value, dict):
        return _is_password(value) or any(_holds_password(item) for item in value.values())
    return isinstance(value, list) and any(_holds_password(item) for item in value)


def _cleaned(value: Any, secret: bool = False) -> Any:
    if isinstance(value, list):
        return [_cleaned(item, secret) for item in value]
    if isinstance(value, dict):
        secret = secret or _is_password(value)
        return {key: REDACTED if secret and key in _VALUES else _cleaned(item, secret) for key, item in value.items()}
    return value
