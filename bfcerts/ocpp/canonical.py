"""The version-neutral vocabulary between the lifecycle and the wire.

Downwards: the actions that the outbox can hold, each with the payload that `build_*` returns. Upwards: the kinds of
evidence that the inbox can hold, with the keys of their payload. One adapter per protocol version translates both;
nothing above `bfcerts.ocpp` knows a version. The model is OCPP 2.0.1's (D-006 of the specification).
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

Payload = dict[str, Any]


class Action(StrEnum):
    """What the control plane can ask of a station (the outbox)."""

    REQUEST_CSR = "request_csr"
    DELIVER_CERTIFICATE = "deliver_certificate"
    INSTALL_CERTIFICATE = "install_certificate"
    LIST_CERTIFICATES = "list_certificates"
    DELETE_CERTIFICATE = "delete_certificate"
    GET_LOG = "get_log"
    SET_VARIABLES = "set_variables"
    GET_VARIABLES = "get_variables"
    GET_SETTINGS = "get_settings"
    CHANGE_SETTING = "change_setting"
    SET_AUTHORIZATION_KEY = "set_authorization_key"
    SET_NETWORK_PROFILE = "set_network_profile"
    SET_NETWORK_PRIORITY = "set_network_priority"
    SET_SECURITY_PROFILE = "set_security_profile"
    RESET = "reset"


class Setting(StrEnum):
    """What every protocol version lets us read, and some of it change, under a name of its own."""

    ORGANIZATION_NAME = "organization_name"
    """The organization that a station writes into its requests."""
    ADDITIONAL_ROOT_CERTIFICATE_CHECK = "additional_root_certificate_check"
    """Read-only: whether the station takes a new root only if the one before has signed it ('true' or 'false')."""
    CERTIFICATE_STORE_MAX_LENGTH = "certificate_store_max_length"
    """Read-only: how many certificates the station can hold."""
    CERTIFICATE_CHAIN_MAX_SIZE = "certificate_chain_max_size"
    """Read-only: the longest chain that it takes in one message, in characters."""
    SECURITY_PROFILE = "security_profile"
    """Read-only here: it is raised by the cut-over."""
    PLUG_AND_CHARGE_ENABLED = "plug_and_charge_enabled"
    """Whether the station offers Plug and Charge to vehicles ('true' or 'false')."""
    V2G_CERTIFICATE_ENABLED = "v2g_certificate_enabled"
    """Whether the station asks for certificates of its EVSEs by itself ('true' or 'false')."""
    SECC_COMMON_NAME = "secc_common_name"
    """The common name that a station writes into the request for its EVSE's certificate."""
    SECC_COUNTRY = "secc_country"
    SECC_ORGANIZATION = "secc_organization"


PLUG_AND_CHARGE_SETTINGS = (
    Setting.PLUG_AND_CHARGE_ENABLED,
    Setting.V2G_CERTIFICATE_ENABLED,
    Setting.SECC_COMMON_NAME,
    Setting.SECC_COUNTRY,
    Setting.SECC_ORGANIZATION,
)
"""Of stations that speak Plug and Charge; some refuse to make a request for an EVSE's certificate without the last."""
COMMON_SETTINGS = tuple(setting for setting in Setting if setting not in PLUG_AND_CHARGE_SETTINGS)

CHANGEABLE_SETTINGS = frozenset({Setting.ORGANIZATION_NAME, *PLUG_AND_CHARGE_SETTINGS})

V2G_CERTIFICATE = "V2GCertificate"
"""The type of an EVSE's certificate towards vehicles (ISO 15118); never that of the station's own."""
PLUG_AND_CHARGE_USES = frozenset({"V2GRootCertificate", "MORootCertificate", "V2GCertificateChain"})
"""Uses of certificates that OCPP 1.6 knows only in its Plug and Charge extension."""

NOT_APPLICABLE = "NotApplicable"
"""The status of a command that its protocol version has no message for: accepted, and nothing was sent. So the steps of
a cut-over are the same for every station: each version sends those that it knows."""


class ResetKind(StrEnum):
    """What a restart is for."""

    ON_IDLE = "OnIdle"
    """When no one is charging; where a version cannot wait, an orderly end of what runs."""
    IMMEDIATE = "Immediate"
    APPLY_CONFIGURATION = "ApplyConfiguration"
    """So that a new network or security profile is used: in the way that the version's own procedure asks for."""


class Evidence(StrEnum):
    """What the wire learned (the inbox). The payload's keys are listed beside each kind."""

    CONNECTED = "connected"
    """fingerprint ('' below Profile 3), profile, address, protocol, listener, evidence_wanted,
    authorization_key (which one of the password door opened, or None), renewal_only (whether it came in with an expired
    certificate, only to renew it)."""
    CONNECTION_REFUSED = "connection_refused"
    """reason (a `RefusalReason`), detail, address, listener, profile, fingerprint, serial, subject, issuer, count (1,
    or how many further equal refusals this row stands for). A failed TLS handshake has no station id."""
    DISCONNECTED = "disconnected"
    """reason, code."""
    BOOTED = "booted"
    """reason, vendor, model, serial_number, firmware_version."""
    CSR_RECEIVED = "csr_received"
    """csr (PEM as sent), certificate_type ('ChargingStationCertificate', 'V2GCertificate' or None), request_id. In the
    Plug and Charge extension of 1.6 a request without a type is for a V2GCertificate: the station's own certificate has
    a message of its own there."""
    SECURITY_EVENT = "security_event"
    """type, timestamp, tech_info."""
    LOG_STATUS = "log_status"
    """status, request_id."""
    COMMAND_ANSWERED = "command_answered"
    """command_id, action, outcome (a `CommandOutcome`), status, status_info, answer, error_code, error_description,
    reference, correlation_id, plug_and_charge (whether it was about certificates of ISO 15118, which says nothing of
    how the station deals with its own). `answer` is None where none came, else what it says in every version's words
    alike: 'status', and for LIST_CERTIFICATES 'uses' (those that the answer speaks for; empty for all) and
    'certificates' (of each its use, its hash_data as the station wrote it, and the hash data of its children), for
    GET_SETTINGS 'settings' (of each its name, its value or None where the station does not tell it, and whether it can
    be read only)."""
    PROTOCOL_VIOLATION = "protocol_violation"
    """kind, detail: a frame that broke the protocol in a way that matters for security."""
    UPSTREAM = "upstream"
    """kind (a `bfcerts.ocpp.relay.reports.Happening`), upstream (its name), detail, count: what an upstream did."""


class QuestionKind(StrEnum):
    """What a station asks that only somebody outside can answer. The payload's keys are listed beside each kind.

    Every answer is one text, which may not be longer than the question says.
    """

    EV_CERTIFICATE = "ev_certificate"
    """schema_version (of ISO 15118, as the station names it), action ('Install' or 'Update'), exi (base64, opaque to
    the wire). The answer is an EXI document in base64."""
    CERTIFICATE_STATUS = "certificate_status"
    """hash_algorithm, issuer_name_hash, issuer_key_hash, serial_number (lower-case hexadecimal, the serial without
    leading zeros), responder_url (a text of the station's, empty for none). The answer is an OCSPResponse in DER, in
    base64."""


class CommandOutcome(StrEnum):
    """How a command to a station ended."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    ERROR = "error"
    TIMED_OUT = "timed_out"
    EXPIRED = "expired"


class RefusalReason(StrEnum):
    """Why the gateway refused a connection before the upgrade."""

    UNKNOWN_STATION = "unknown_station"
    WRONG_PASSWORD = "wrong_password"  # noqa: S105  # the name of a refusal
    NO_CREDENTIALS = "no_credentials"
    THROTTLED = "throttled"
    NO_CLIENT_CERTIFICATE = "no_client_certificate"
    UNKNOWN_CERTIFICATE = "unknown_certificate"
    FOREIGN_TRUST_DOMAIN = "foreign_trust_domain"
    CERTIFICATE_OF_ANOTHER_STATION = "certificate_of_another_station"
    CERTIFICATE_REVOKED = "certificate_revoked"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_NOT_YET_VALID = "certificate_not_yet_valid"
    AUTHORITY_EXPIRED = "authority_expired"
    CERTIFICATE_SUPERSEDED = "certificate_superseded"
    CERTIFICATE_NOT_ACCEPTABLE = "certificate_not_acceptable"
    PROFILE_TOO_LOW = "profile_too_low"
    SESSION_RESUMED = "session_resumed"
    TLS_HANDSHAKE_FAILED = "tls_handshake_failed"
    UNSUPPORTED_SUBPROTOCOL = "unsupported_subprotocol"
    DISABLED_STATION = "disabled_station"


def is_plug_and_charge(payload: Payload) -> bool:
    """Whether a command, by its payload, is about certificates of ISO 15118."""
    return (
        payload.get("certificate_type") == V2G_CERTIFICATE
        or payload.get("use") in PLUG_AND_CHARGE_USES
        or bool(PLUG_AND_CHARGE_USES.intersection(payload.get("uses") or ()))
    )


def request_csr(certificate_type: str = "ChargingStationCertificate") -> Payload:
    """OCPP 2.0.1 A02: TriggerMessage(Sign…Certificate); the V2G one of 1.6 stations is in their extension."""
    return {"certificate_type": certificate_type}


def deliver_certificate(chain_pem: str, certificate_type: str | None) -> Payload:
    """OCPP 2.0.1 A02.FR.11: CertificateSigned; the type is echoed, and absent when the request had none.

    :param chain_pem: the leaf first, each certificate before its issuer; of a V2GCertificate without the root. Line
        breaks are line breaks: escaping them is the business of each version's messages.
    """
    return {"chain": chain_pem, "certificate_type": certificate_type}


def install_certificate(certificate_pem: str, use: str) -> Payload:
    """OCPP 2.0.1 M05. `use` is an InstallCertificateUseEnum value, for example CSMSRootCertificate."""
    return {"certificate": certificate_pem, "use": use}


def list_certificates(uses: Sequence[str] = ()) -> Payload:
    """OCPP 2.0.1 M03; without uses, all of them.

    A version that can ask for one use in a message takes no longer list, and without uses asks for CSMS roots, the ones
    that decide whether the station can connect; the answer's 'uses' says what it speaks for. Ask for one use at a time
    wherever each of them counts.
    """
    return {"uses": list(uses)}


def delete_certificate(hash_data: Payload, use: str = "") -> Payload:
    """OCPP 2.0.1 M04.FR.07: the very hash data that the station reported, hashAlgorithm included.

    :param use: what the certificate is listed for, where that is one of `PLUG_AND_CHARGE_USES`: to 1.6 stations that
        is a message of their extension.
    """
    return {"hash_data": hash_data, "use": use} if use in PLUG_AND_CHARGE_USES else {"hash_data": hash_data}


def get_log(log_type: str, remote_location: str, request_id: int) -> Payload:
    """OCPP 2.0.1 N01. `log_type` is SecurityLog or DiagnosticsLog."""
    return {"log_type": log_type, "remote_location": remote_location, "request_id": request_id}


def set_variables(variables: Sequence[tuple[str, str, str]]) -> Payload:
    """OCPP 2.0.1 B05: (component, variable, value) triples of one station model.

    What every version has is a `Setting`. A version without components knows its keys by an empty component.
    """
    return {"variables": [list(triple) for triple in variables]}


def get_variables(variables: Sequence[tuple[str, str]]) -> Payload:
    """OCPP 2.0.1 B06: (component, variable) pairs, as for `set_variables`."""
    return {"variables": [list(pair) for pair in variables]}


def get_settings(settings: Sequence[Setting] = COMMON_SETTINGS) -> Payload:
    """What a station has set; one that it does not know is no refusal."""
    return {"settings": [setting.value for setting in settings]}


def change_setting(setting: Setting, value: str) -> Payload:
    """One of `CHANGEABLE_SETTINGS`."""
    return {"setting": setting.value, "value": value}


def set_authorization_key(key: str = "") -> Payload:
    """OCPP 2.0.1 A01.FR.02, 1.6 whitepaper 3rd edition A01: the new Profile 2 password of a station.

    The key itself goes only into what `secret_payload.seal` encrypts; the readable payload is without it.

    :param key: the characters of the password, as they come in HTTP Basic. A version that transports bytes as
        hexadecimal does that itself. 16 to 20 printable ASCII characters suit every version and station.
    """
    return {"authorization_key": key}


def set_network_profile(slot: int, security_profile: int, url: str, *, may_lower: bool = False) -> Payload:
    """OCPP 2.0.1 B09, A05: one connection profile in a configuration slot; `NOT_APPLICABLE` where there are none.

    :param may_lower: only for a family that is allowed to lower its profile: anything below Profile 3 may be lower than
        what the station has, and is refused without.
    """
    return {"slot": slot, "security_profile": security_profile, "url": url, "may_lower": may_lower}


def set_network_priority(slots: Sequence[int]) -> Payload:
    """OCPP 2.0.1 B10: the slots in the order in which they are tried; `NOT_APPLICABLE` where there are none."""
    return {"slots": list(slots)}


def set_security_profile(security_profile: int, *, may_lower: bool = False) -> Payload:
    """OCPP 1.6 whitepaper 3rd edition A05: the profile that the station connects with at its present address.

    `NOT_APPLICABLE` where the profile belongs to the network profile. `may_lower` as for `set_network_profile`.
    """
    return {"security_profile": security_profile, "may_lower": may_lower}


def reset(kind: str = ResetKind.ON_IDLE) -> Payload:
    """OCPP 2.0.1 B11/B12. `kind` is a `ResetKind`."""
    return {"kind": str(kind)}
