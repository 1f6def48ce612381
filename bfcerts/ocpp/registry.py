"""What the floors above lend to the wire: filled at start-up by the apps, never imported upward.

The gateway asks `doors()` who may come in, `listeners()` for its own certificates and trust, and the worker asks
`handler_for()` what to do with evidence. All are synchronous and called on a thread that may use the database.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Protocol

from bfcerts.ocpp.canonical import Evidence, QuestionKind, RefusalReason

ADAPTER_OPTION: Final = "adapter"
"""The key of `Admission.options` under which a door names the variant of the protocol that a family speaks."""


@dataclass(frozen=True, slots=True)
class PresentedCertificate:
    """What TLS proved: the peer holds this certificate's key and it chains to the trust it was checked against."""

    fingerprint: str
    der: bytes


@dataclass(frozen=True, slots=True)
class ConnectionAttempt:
    """One handshake that asks for the upgrade. Exactly one of certificate and password decides."""

    station_id: str
    address: str
    listener: str
    protocol: str
    certificate: PresentedCertificate | None
    password: bytes | None = field(repr=False)
    now: datetime = field()


@dataclass(frozen=True, slots=True)
class Admission:
    """The station may come in.

    `evidence_wanted`: this connection is news to the lifecycle. `options`: what the door wants to be told again when it
    is asked whether the station may stay; to the wire only its 'adapter' means something, the variant of the protocol
    that the station's family needs (`bfcerts.ocpp.adapters.VARIANTS`). `renewal_only_until`: it comes in with an
    expired certificate, only to renew it and only until then (`bfcerts.ocpp.gateway.renewal_only`).
    """

    security_profile: int
    evidence_wanted: bool
    options: Mapping[str, Any] = field(default_factory=dict)
    renewal_only_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The station may not come in; `detail` is for the operator, never for the wire."""

    reason: RefusalReason
    detail: str


class Door(Protocol):
    """Decides on many attempts at once, so that a storm of reconnects costs few queries.

    :returns: one decision for each attempt, in order.
    """

    def decide(self, attempts: Sequence[ConnectionAttempt]) -> list[Admission | Refusal]: ...


@dataclass(frozen=True, slots=True)
class Stay:
    """A live session that a password opened; `options` are those of its admission."""

    station_id: str
    options: Mapping[str, Any]
    now: datetime


class PasswordDoor(Door, Protocol):
    """A door that can be asked again without the password, which nobody keeps."""

    def review(self, stays: Sequence[Stay]) -> list[Refusal | None]:
        """For each, in order: why it may not stay, or None."""


@dataclass(frozen=True, slots=True)
class ListenerRequest:
    """The lifecycle waits for a key pair and a request from the listener of a host."""

    reference: str
    host: str
    key_type: str


class Listeners(Protocol):
    """Where the gateway's own certificates and its trust come from."""

    def ensure_requested(self, host: str, key_types: Sequence[str], now: datetime) -> None:
        """Make sure that the host is in the inventory and has, or is getting, a certificate of each key type."""

    def wanted(self, host: str) -> list[ListenerRequest]:
        """Requests that wait for a CSR of this host."""

    def submit_request(self, reference: str, csr_pem: str, now: datetime) -> None:
        """Hand in the CSR for a request."""

    def chain_for(self, public_key_sha256: str) -> str | None:
        """The usable chain (leaf first, PEM) issued for a key, or None."""

    def presented(self, public_key_sha256: str, now: datetime) -> None:
        """The listener presents the certificate of this key: the evidence that activates it."""

    def client_trust_anchors(self) -> list[str]:
        """PEM of the roots and issuing CAs of the charger identity trust domain, and of no other."""


class WhenAway(StrEnum):
    """What becomes of a charger whose upstream is away."""

    STAY = "stay"
    CLOSE = "close"


class UpstreamState(StrEnum):
    """How the connection of one session to its upstream stands."""

    NONE = ""
    """No upstream applies."""
    CONNECTING = "connecting"
    CONNECTED = "connected"
    AWAY = "away"


@dataclass(frozen=True, slots=True)
class Upstream:
    """The operator's own CSMS behind a relay, as one charger reaches it."""

    name: str
    url: str
    ca_bundle: str = ""
    """PEM of the certificates that its own must chain to; empty for the system's roots."""
    credential: str = ""
    """The name of a credential in the gateway's environment; empty for none."""
    when_away: WhenAway = WhenAway.STAY


class Upstreams(Protocol):
    """Which stations are relayed, and where to. Asked when a station is let in, and when that may have changed."""

    def of(self, station_ids: Sequence[str]) -> list[Upstream | None]:
        """One answer for each station, in order; None for a station that is not relayed."""


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """Evidence as a handler sees it."""

    id: int
    station_id: str
    session_id: str
    kind: Evidence
    payload: Mapping[str, Any]
    received_at: datetime


Handler = Callable[[InboxEntry], None]


@dataclass(frozen=True, slots=True)
class Question:
    """A station's question as an answerer sees it. After `deadline` the station has been told that nobody answered."""

    id: int
    station_id: str
    session_id: str
    kind: QuestionKind
    payload: Mapping[str, Any]
    longest: int
    """Characters that the answer may have."""
    asked_at: datetime
    deadline: datetime

    def time_left(self, now: datetime) -> timedelta:
        """What is left for asking anybody else; nothing, and never less, once the deadline is past."""
        return max(self.deadline - now, timedelta())


@dataclass(frozen=True, slots=True)
class QuestionAnswer:
    """What an answerer found out.

    `accepted` and `content` go to the station, also a content that is not accepted; `detail` is for the operator: one
    sentence, kept with the question.
    """

    accepted: bool
    content: str = ""
    detail: str = ""


Answerer = Callable[[Question], QuestionAnswer]
"""Called on a thread of the worker, in no transaction, and again for the same question after a worker vanished.

It has to end by itself before the question's deadline: nothing can stop it, and until it ends it takes one of its
places. What it raises is an answer, too: the station is told that there is none, and the operator why.
"""


@dataclass(frozen=True, slots=True)
class Answering:
    """Who answers a kind of question, and how many at once in one worker."""

    answerer: Answerer
    at_once: int


_certificate_door: Door | None = None
_password_door: PasswordDoor | None = None
_listeners: Listeners | None = None
_upstreams: Upstreams | None = None
_handlers: dict[Evidence, Handler] = {}
_answering: dict[QuestionKind, Answering] = {}


class NotRegisteredError(Exception):
    """An app that the wire needs did not register itself at start-up; check INSTALLED_APPS."""


def register_doors(*, certificate: Door | None = None, password: PasswordDoor | None = None) -> None:
    """Lend the wire a door: inventory for client certificates, migration for passwords."""
    global _certificate_door, _password_door
    _certificate_door = certificate or _certificate_door
    _password_door = password or _password_door


def register_listeners(listeners: Listeners) -> None:
    """Lend the wire the source of its own certificates."""
    global _listeners
    _listeners = listeners


def register_upstreams(upstreams: Upstreams | None) -> None:
    """Lend the wire the knowledge of who is relayed where; without it nobody is."""
    global _upstreams
    _upstreams = upstreams


def register_handler(kind: Evidence, handler: Handler) -> None:
    """Name what happens with a kind of evidence. One handler for each kind."""
    if _handlers.get(kind, handler) is not handler:
        raise ValueError(f"evidence {kind} already has a handler: {_handlers[kind]}")
    _handlers[kind] = handler


def register_answerer(kind: QuestionKind, answerer: Answerer, *, at_once: int = 8) -> None:
    """Name who answers a kind of question; without one, stations hear at once that there is no answer.

    :param at_once: how many are asked side by side in one worker process; more wait for a place, each no longer than
        its deadline. A partner behind the answerer that may be slow needs a limit of its own below this.
    """
    if kind in _answering and _answering[kind].answerer is not answerer:
        raise ValueError(f"questions of kind {kind} already have an answerer: {_answering[kind].answerer}")
    _answering[kind] = Answering(answerer, at_once)


def forget_answerer(kind: QuestionKind) -> None:
    """Take a kind of question back from its answerer."""
    _answering.pop(kind, None)


def certificate_door() -> Door:
    if _certificate_door is None:
        raise NotRegisteredError("no door for client certificates is registered")
    return _certificate_door


def password_door() -> PasswordDoor:
    if _password_door is None:
        raise NotRegisteredError("no door for passwords is registered")
    return _password_door


def listeners() -> Listeners:
    if _listeners is None:
        raise NotRegisteredError("no source of listener certificates is registered")
    return _listeners


def upstreams() -> Upstreams | None:
    return _upstreams


def handler_for(kind: Evidence) -> Handler | None:
    return _handlers.get(kind)


def answering_for(kind: QuestionKind) -> Answering | None:
    return _answering.get(kind)


def answering() -> dict[QuestionKind, Answering]:
    """Everybody who answers, by kind."""
    return dict(_answering)
