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
    SET_NETWORK_PROFILE = "set_network_profile"
    RESET = "reset"


class Evidence(StrEnum):
    """What the wire learned (the inbox). The payload's keys are listed beside each kind."""

    CONNECTED = "connected"
    """fingerprint ('' below Profile 3), profile, address, protocol, listener, evidence_wanted,
    authorization_key (which one of the password door opened, or None)."""
    CONNECTION_REFUSED = "connection_refused"
    """reason (a `RefusalReason`), detail, address, listener, profile, fingerprint, serial, subject, issuer, count (1,
    or how many further equal refusals this row stands for). A failed TLS handshake has no station id."""
    DISCONNECTED = "disconnected"
    """reason, code."""
    BOOTED = "booted"
    """reason, vendor, model, serial_number, firmware_version."""
    CSR_RECEIVED = "csr_received"
    """csr (PEM as sent), certificate_type ('ChargingStationCertificate', 'V2GCertificate' or None), request_id."""
    SECURITY_EVENT = "security_event"
    """type, timestamp, tech_info."""
    LOG_STATUS = "log_status"
    """status, request_id."""
    COMMAND_ANSWERED = "command_answered"
    """command_id, action, outcome (a `CommandOutcome`), status, status_info, answer, error_code, error_description,
    reference, correlation_id."""
    PROTOCOL_VIOLATION = "protocol_violation"
    """kind, detail: a frame that broke the protocol in a way that matters for security."""


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
    WRONG_PASSWORD = "wrong_password"  # noqa: S105
    NO_CREDENTIALS = "no_credentials"
    THROTTLED = "throttled"
    NO_CLIENT_CERTIFICATE = "no_client_certificate"
    UNKNOWN_CERTIFICATE = "unknown_certificate"
    FOREIGN_TRUST_DOMAIN = "foreign_trust_domain"
    CERTIFICATE_OF_ANOTHER_STATION = "certificate_of_another_station"
    CERTIFICATE_REVOKED = "certificate_revoked"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_NOT_YET_VALID = "certificate_not_yet_valid"
    CERTIFICATE_SUPERSEDED = "certificate_superseded"
    CERTIFICATE_NOT_ACCEPTABLE = "certificate_not_acceptable"
    PROFILE_TOO_LOW = "profile_too_low"
    SESSION_RESUMED = "session_resumed"
    TLS_HANDSHAKE_FAILED = "tls_handshake_failed"
    UNSUPPORTED_SUBPROTOCOL = "unsupported_subprotocol"
    DISABLED_STATION = "disabled_station"


def request_csr(certificate_type: str = "ChargingStationCertificate") -> Payload:
    """OCPP 2.0.1 A02: TriggerMessage(Sign…Certificate)."""
    return {"certificate_type": certificate_type}


def deliver_certificate(chain_pem: str, certificate_type: str | None) -> Payload:
    """OCPP 2.0.1 A02.FR.11: CertificateSigned; the type is echoed, and absent when the request had none."""
    return {"chain": chain_pem, "certificate_type": certificate_type}


def install_certificate(certificate_pem: str, use: str) -> Payload:
    """OCPP 2.0.1 M05. `use` is an InstallCertificateUseEnum value, for example CSMSRootCertificate."""
    return {"certificate": certificate_pem, "use": use}


def list_certificates(uses: Sequence[str] = ()) -> Payload:
    """OCPP 2.0.1 M03; without uses, all of them."""
    return {"uses": list(uses)}


def delete_certificate(hash_data: Payload) -> Payload:
    """OCPP 2.0.1 M04.FR.07: the very hash data that the station reported, hashAlgorithm included."""
    return {"hash_data": hash_data}


def get_log(log_type: str, remote_location: str, request_id: int) -> Payload:
    """OCPP 2.0.1 N01. `log_type` is SecurityLog or DiagnosticsLog."""
    return {"log_type": log_type, "remote_location": remote_location, "request_id": request_id}


def set_variables(variables: Sequence[tuple[str, str, str]]) -> Payload:
    """OCPP 2.0.1 B05: (component, variable, value) triples."""
    return {"variables": [list(triple) for triple in variables]}


def get_variables(variables: Sequence[tuple[str, str]]) -> Payload:
    """OCPP 2.0.1 B06: (component, variable) pairs."""
    return {"variables": [list(pair) for pair in variables]}


def set_network_profile(slot: int, security_profile: int, url: str) -> Payload:
    """OCPP 2.0.1 B09, A05: one connection profile in a configuration slot."""
    return {"slot": slot, "security_profile": security_profile, "url": url}


def reset(kind: str = "OnIdle") -> Payload:
    """OCPP 2.0.1 B11/B12. `kind` is OnIdle or Immediate."""
    return {"kind": kind}
