"""What happened to a station, in order, for tests to wait for and for people to read."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class EventKind(StrEnum):
    """Kinds of events; the keys of their detail stand beside each."""

    CONNECTED = "connected"
    """slot, security_profile, url, fingerprint ('' without), tls_version, session_resumed."""
    REFUSED = "refused"
    """status (HTTP or None), reason (a `RefusalKind`), detail, slot, fingerprint."""
    UNREACHABLE = "unreachable"
    """detail, slot."""
    NOT_READY = "not_ready"
    """detail, slot: the profile asks for something the station does not have."""
    DISCONNECTED = "disconnected"
    """departure (a `Departure`), code, reason."""
    STAYED_AWAY = "stayed_away"
    """departure."""
    BOOTED = "booted"
    """status, interval."""
    CALL_RECEIVED = "call_received"
    """message_id, action, payload."""
    CALL_ANSWERED = "call_answered"
    """message_id, action, status, code (of a CALLERROR, else '')."""
    CALL_FAILED = "call_failed"
    """action, code, detail: the CSMS answered one of our CALLs with CALLERROR, or not at all."""
    STRAY_ANSWER = "stray_answer"
    """frame: an answer to nothing that we asked, as after `send_raw`."""
    PROTOCOL_VIOLATION = "protocol_violation"
    """detail: the CSMS broke OCPP-J or a schema."""
    CSR_SENT = "csr_sent"
    """status, certificate_type, key, csr."""
    CERTIFICATE_INSTALLED = "certificate_installed"
    """fingerprint, not_after."""
    EVSE_CERTIFICATE_INSTALLED = "evse_certificate_installed"
    """fingerprint, not_after: of the certificate towards vehicles."""
    CERTIFICATE_REJECTED = "certificate_rejected"
    """reason, detail."""
    CERTIFICATE_PROVEN = "certificate_proven"
    """fingerprint: a connection with it succeeded for the first time."""
    CERTIFICATE_DISCARDED = "certificate_discarded"
    """fingerprint: the new one was refused, the one before is used again."""
    ROOT_INSTALLED = "root_installed"
    """use, fingerprint."""
    ROOT_REFUSED = "root_refused"
    """use, detail."""
    ROOT_DELETED = "root_deleted"
    """use, fingerprint."""
    PASSWORD_CHANGED = "password_changed"
    PASSWORD_DISCARDED = "password_discarded"
    """The new one was refused, the one before is used again."""
    NETWORK_PROFILE_SET = "network_profile_set"
    """slot, security_profile, url."""
    NETWORK_PRIORITY_SET = "network_priority_set"
    """priority."""
    NETWORK_PROFILE_DROPPED = "network_profile_dropped"
    """slot, security_profile."""
    RESETTING = "resetting"
    """kind."""
    SECURITY_EVENT_SENT = "security_event_sent"
    """type, tech_info."""
    LOG_UPLOAD = "log_upload"
    """request_id, status."""


@dataclass(frozen=True, slots=True)
class Event:
    """One entry; `number` counts up from 1 and never repeats within a station's life in this process."""

    number: int
    kind: EventKind
    at: datetime
    detail: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.detail[key]


class WaitTimedOutError(TimeoutError):
    """What was waited for did not happen in time; the message lists the last events."""


class EventLog:
    """The newest `keep` events, oldest first."""

    def __init__(self, now: Callable[[], datetime], *, keep: int = 2000) -> None:
        self._now = now
        self._entries: deque[Event] = deque(maxlen=keep)
        self._listeners: list[Callable[[Event], None]] = []
        self._waiters: set[asyncio.Future[None]] = set()
        self.last_number = 0

    def __iter__(self) -> Iterator[Event]:
        return iter(tuple(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """Call the listener with each event from now on."""
        self._listeners.append(listener)

    def record(self, kind: EventKind, /, **detail: Any) -> Event:
        self.last_number += 1
        event = Event(self.last_number, kind, self._now(), detail)
        self._entries.append(event)
        for listener in self._listeners:
            listener(event)
        self.wake()
        return event

    def wake(self) -> None:
        """Let everyone who waits look again, as something other than an event changed."""
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def of(self, kind: EventKind, *, after: int = 0) -> list[Event]:
        """Events of a kind that are newer than the number `after`."""
        return [event for event in self._entries if event.kind is kind and event.number > after]

    async def wait_until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Return once the condition holds; it is looked at again after each event.

        :raises WaitTimedOutError: when `seconds` have passed.
        """
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._waiters.add(waiter)
                    await waiter
        except TimeoutError:
            raise WaitTimedOutError(f"not within {seconds:g} s; last events: {self.tail()}") from None

    def tail(self, count: int = 12) -> str:
        """The last few events in one line, without payloads."""
        return ", ".join(
            f"{event.kind}({', '.join(f'{k}={v}' for k, v in event.detail.items() if k not in _BULKY)})"
            for event in list(self._entries)[-count:]
        )


_BULKY = frozenset({"payload", "csr", "frame"})
