"""What the floors above would lend to the wire, held in memory: doors, listener certificates and trust."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bfcerts.ocpp.canonical import RefusalReason
from bfcerts.ocpp.registry import ADAPTER_OPTION, Admission, ConnectionAttempt, ListenerRequest, Refusal, Stay
from tests.ocpp.authority import Authority, pem


@dataclass
class CertificateBook:
    """A door for client certificates: which fingerprint belongs to which station, and which are refused.

    `renewals`: until when an expired certificate is let in, only to renew it.
    """

    stations: dict[str, str] = field(default_factory=dict)
    refused: dict[str, RefusalReason] = field(default_factory=dict)
    news: set[str] = field(default_factory=set)
    renewals: dict[str, datetime] = field(default_factory=dict)
    asked: list[ConnectionAttempt] = field(default_factory=list)

    def decide(self, attempts: Sequence[ConnectionAttempt]) -> list[Admission | Refusal]:
        self.asked.extend(attempts)
        return [self._decide(attempt) for attempt in attempts]

    def _decide(self, attempt: ConnectionAttempt) -> Admission | Refusal:
        assert attempt.certificate is not None
        fingerprint = attempt.certificate.fingerprint
        parsed = x509.load_der_x509_certificate(attempt.certificate.der)
        if fingerprint in self.refused:
            return Refusal(self.refused[fingerprint], "the book says no")
        if fingerprint not in self.stations:
            return Refusal(RefusalReason.UNKNOWN_CERTIFICATE, "not in the book")
        if self.stations[fingerprint] != attempt.station_id:
            return Refusal(RefusalReason.CERTIFICATE_OF_ANOTHER_STATION, "somebody else's")
        if parsed.not_valid_after_utc < attempt.now:
            until = self.renewals.get(fingerprint)
            if until is not None and until > attempt.now:
                return Admission(3, evidence_wanted=True, renewal_only_until=until)
            return Refusal(RefusalReason.CERTIFICATE_EXPIRED, "expired")
        return Admission(3, evidence_wanted=fingerprint in self.news)


@dataclass
class PasswordBook:
    """A door for passwords: those of each station, and the stations that have left Profile 2."""

    passwords: dict[str, set[bytes]] = field(default_factory=dict)
    on_profile3: set[str] = field(default_factory=set)
    variants: dict[str, str] = field(default_factory=dict)
    """The variant of the protocol that a station's family needs."""

    def decide(self, attempts: Sequence[ConnectionAttempt]) -> list[Admission | Refusal]:
        return [self._decide(attempt) for attempt in attempts]

    def _decide(self, attempt: ConnectionAttempt) -> Admission | Refusal:
        if attempt.station_id not in self.passwords:
            return Refusal(RefusalReason.UNKNOWN_STATION, "not in the book")
        if attempt.station_id in self.on_profile3:
            return Refusal(RefusalReason.PROFILE_TOO_LOW, "it has moved to Profile 3")
        given = attempt.password or b""
        known = self.passwords[attempt.station_id]
        if not any(hmac.compare_digest(given, password) for password in known):
            return Refusal(RefusalReason.WRONG_PASSWORD, "wrong")
        variant = self.variants.get(attempt.station_id, "")
        return Admission(2, evidence_wanted=False, options={"password": given, ADAPTER_OPTION: variant})

    def review(self, stays: Sequence[Stay]) -> list[Refusal | None]:
        ended = Refusal(RefusalReason.WRONG_PASSWORD, "the password it came in with has ended")
        return [None if stay.options["password"] in self.passwords[stay.station_id] else ended for stay in stays]


class ServerCertificateDesk:
    """Where listener certificates come from: issued as soon as a request is handed in, unless told to wait."""

    def __init__(self, servers: Authority, stations: Authority) -> None:
        self.servers = servers
        self.anchors = stations.anchors
        self.issuing = True
        self.open_requests: list[ListenerRequest] = []
        self.every_request: list[ListenerRequest] = []
        self.handed_in: dict[str, str] = {}
        self.issued: dict[str, str] = {}
        self.presented_keys: list[str] = []

    def ensure_requested(self, host: str, key_types: Sequence[str], now: datetime) -> None:
        for key_type in key_types:
            if not any(request.key_type == key_type for request in self.every_request):
                self.ask(host, key_type)

    def ask(self, host: str, key_type: str) -> str:
        """Ask for a further certificate, as a renewal does."""
        reference = f"{host}-{key_type}-{len(self.every_request)}"
        self.open_requests.append(ListenerRequest(reference, host, key_type))
        self.every_request.append(self.open_requests[-1])
        return reference

    def wanted(self, host: str) -> list[ListenerRequest]:
        return [request for request in self.open_requests if request.host == host]

    def submit_request(self, reference: str, csr_pem: str, now: datetime) -> None:
        self.open_requests = [one for one in self.open_requests if one.reference != reference]
        self.handed_in[reference] = csr_pem
        if self.issuing:
            self.issue(reference)

    def issue(self, reference: str) -> None:
        certificate = self.servers.sign_server_request(self.handed_in[reference])
        public_key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.issued[sha256(public_key).hexdigest()] = pem(certificate) + pem(self.servers.certificate)

    def chain_for(self, public_key_sha256: str) -> str | None:
        return self.issued.get(public_key_sha256)

    def presented(self, public_key_sha256: str, now: datetime) -> None:
        assert now.tzinfo is UTC
        self.presented_keys.append(public_key_sha256)

    def client_trust_anchors(self) -> list[str]:
        return list(self.anchors)
