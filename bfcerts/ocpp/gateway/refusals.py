"""What the operator learns of connections that were refused: the first of equal ones at once, the rest as a count."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from cryptography import x509

from bfcerts.ocpp.canonical import Evidence, Payload, RefusalReason
from bfcerts.ocpp.gateway.evidence import EvidenceWriter
from bfcerts.ocpp.gateway.limits import Repetitions, address_group
from bfcerts.ocpp.inbox import Observation, storable
from bfcerts.ocpp.registry import ConnectionAttempt, PresentedCertificate, Refusal

WINDOW_SECONDS: Final = 600.0
"""A charger that is refused tries again about every minute, for days: that is one event and then six an hour."""

REPORTS_PER_SECOND: Final = 20.0

# Here, as with any certificate, the station id may be made up: repetitions are told by address and certificate.
_STATION_UNPROVEN: Final = {
    RefusalReason.UNKNOWN_STATION,
    RefusalReason.NO_CREDENTIALS,
    RefusalReason.UNSUPPORTED_SUBPROTOCOL,
    RefusalReason.THROTTLED,
}


class Refusals:
    """Turns refusals into CONNECTION_REFUSED evidence at a bounded rate."""

    def __init__(self, evidence: EvidenceWriter, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._evidence = evidence
        self._monotonic = monotonic
        self._repetitions: Repetitions[Observation] = Repetitions(WINDOW_SECONDS, REPORTS_PER_SECOND, monotonic())

    def of_station(self, attempt: ConnectionAttempt, refusal: Refusal) -> None:
        """A handshake that reached the door."""
        fingerprint = attempt.certificate.fingerprint if attempt.certificate else ""
        station_is_real = not fingerprint and refusal.reason not in _STATION_UNPROVEN
        who = f"{address_group(attempt.address)} {attempt.station_id if station_is_real else fingerprint}"
        payload = {
            "reason": refusal.reason,
            "detail": refusal.detail,
            "address": attempt.address,
            "listener": attempt.listener,
            "profile": 3 if attempt.certificate else 2,
            "fingerprint": fingerprint,
            **_names(attempt.certificate),
        }
        self._note(f"{refusal.reason} {who}", attempt.station_id, payload, attempt.now)

    def of_handshake(self, listener: str, address: str, reason: RefusalReason, detail: str, now: datetime) -> None:
        """A TLS handshake that failed: of the station only its address is known."""
        payload = {
            "reason": reason,
            "detail": detail,
            "address": address,
            "listener": listener,
            "profile": 2 if listener == "profile2" else 3,
            "fingerprint": "",
            **_names(None),
        }
        self._note(f"{reason} {address_group(address)} {detail}", "", payload, now)

    def sweep(self, now: datetime) -> None:
        """Report what was only counted and whose window has ended."""
        for observation, repeated in self._repetitions.ended(self._monotonic()):
            payload = {**observation.payload, "count": repeated}
            self._evidence.report(Observation(observation.station_id, None, Evidence.CONNECTION_REFUSED, payload, now))

    def _note(self, key: str, station_id: str, payload: Payload, now: datetime) -> None:
        stored = {name: storable(value) for name, value in payload.items()}
        observation = Observation(station_id, None, Evidence.CONNECTION_REFUSED, {**stored, "count": 1}, now)
        if self._repetitions.note(key, observation, self._monotonic()):
            self._evidence.report(observation)


def _names(certificate: PresentedCertificate | None) -> Payload:
    """Serial (lower-case hex), subject and issuer, as far as the certificate can be read."""
    names: Payload = {"serial": "", "subject": "", "issuer": ""}
    if certificate is not None:
        try:
            parsed = x509.load_der_x509_certificate(certificate.der)
            names["serial"] = f"{parsed.serial_number:x}"
            names["subject"] = parsed.subject.rfc4514_string()
            names["issuer"] = parsed.issuer.rfc4514_string()
        except ValueError:
            names["subject"] = "(a certificate that cannot be parsed)"
    return names
