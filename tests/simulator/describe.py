"""Events as sentences for people. Payloads, passwords and keys never appear in them."""

from tests.simulator.events import Event, EventKind

_SENTENCES: dict[EventKind, str] = {
    EventKind.CONNECTED: "connected to {url} on profile {security_profile} with {certificate}, {tls_version}",
    EventKind.REFUSED: "refused: {detail}, with {certificate}",
    EventKind.UNREACHABLE: "nobody there: {detail}",
    EventKind.NOT_READY: "cannot connect: {detail}",
    EventKind.DISCONNECTED: "disconnected ({departure}, close code {code}) {reason}",
    EventKind.STAYED_AWAY: "stays away after {departure}",
    EventKind.BOOTED: "BootNotification {status}",
    EventKind.CALL_RECEIVED: "asked for {action}",
    EventKind.CALL_ANSWERED: "answered {action} {status}{code}",
    EventKind.CALL_FAILED: "{action} was not answered: {code} {detail}",
    EventKind.STRAY_ANSWER: "an answer came to nothing that was asked",
    EventKind.PROTOCOL_VIOLATION: "the CSMS broke the protocol: {detail}",
    EventKind.CSR_SENT: "SignCertificate {status}",
    EventKind.CERTIFICATE_INSTALLED: "new {certificate} installed, valid until {not_after:%Y-%m-%d %H:%M}",
    EventKind.CERTIFICATE_REJECTED: "certificate rejected: {detail}",
    EventKind.CERTIFICATE_PROVEN: "{certificate} is now in use",
    EventKind.CERTIFICATE_DISCARDED: "new {certificate} discarded, back to the one before",
    EventKind.ROOT_INSTALLED: "{use} {certificate} installed",
    EventKind.ROOT_REFUSED: "{use} refused: {detail}",
    EventKind.ROOT_DELETED: "{use} {certificate} deleted",
    EventKind.PASSWORD_CHANGED: "password changed",
    EventKind.PASSWORD_DISCARDED: "new password discarded, back to the one before",
    EventKind.NETWORK_PROFILE_SET: "network profile {slot} is security profile {security_profile} at {url}",
    EventKind.NETWORK_PRIORITY_SET: "network profiles in the order {priority}",
    EventKind.NETWORK_PROFILE_DROPPED: "network profile {slot} (security profile {security_profile}) dropped",
    EventKind.RESETTING: "resets ({kind})",
    EventKind.SECURITY_EVENT_SENT: "security event {type} {tech_info}",
    EventKind.LOG_UPLOAD: "log upload {request_id}: {status}",
}
ROUTINE = frozenset({EventKind.CALL_RECEIVED, EventKind.CALL_ANSWERED})
"""What happens all the time and is not worth a line by default."""


def describe(event: Event) -> str:
    """One line without the station's name."""
    fingerprint = event.detail.get("fingerprint", "")
    certificate = f"certificate {fingerprint[:12]}" if fingerprint else "no certificate"
    return _SENTENCES[event.kind].format(certificate=certificate, **event.detail).rstrip(" ,")
