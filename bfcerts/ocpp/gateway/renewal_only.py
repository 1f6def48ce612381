"""A connection that is there for the renewal of its certificate, and for nothing else.

It came in with a certificate that has expired, through a narrow door. It is kept in the state that OCPP has for a
station that is not accepted yet (OCPP 2.0.1 B02, 1.6 §4.2): BootNotification is answered with Pending, and whatever
the renewal does not need with a CALLERROR SecurityError (B02.FR.09). A station in that state keeps the messages of its
transactions until it is accepted.
"""

from dataclasses import replace
from datetime import datetime
from typing import Final

from bfcerts.ocpp.canonical import Action, Evidence
from bfcerts.ocpp.frames import Call, ErrorCode
from bfcerts.ocpp.protocol import ProtocolAdapter, Reaction, RefusedCallError

REQUESTS: Final = frozenset(
    {"BootNotification", "Heartbeat", "SecurityEventNotification", "SignCertificate", "StatusNotification"}
)
"""What the station may ask, by names that every version shares."""
COMMANDS: Final = frozenset(
    {
        Action.REQUEST_CSR,
        Action.DELIVER_CERTIFICATE,
        Action.INSTALL_CERTIFICATE,
        Action.LIST_CERTIFICATES,
        Action.RESET,
    }
)
"""What it may be asked; other commands wait for a connection without this limit, or for their own end.

A station may need another root before it takes the new certificate, and a restart before it uses it.
"""
OWN_CERTIFICATE: Final = frozenset({None, "ChargingStationCertificate"})
BOOT_RETRY_SECONDS: Final = 60
"""After Pending, how long the station waits before it boots again: the new certificate should be there by then."""
ENDED: Final = "the narrow door for the renewal of its certificate is closed"
OUTSIDE_RENEWAL: Final = "outside_renewal"
"""The kind of a `PROTOCOL_VIOLATION` that is none: the station asked for what this connection is not for."""
_MOST_REMEMBERED: Final = 32


class OutsideRenewalError(RefusedCallError):
    """A request that the renewal of a certificate does not need."""

    def __init__(self, action: str, *, first: bool) -> None:
        super().__init__(
            ErrorCode.SECURITY_ERROR,
            f"{action[:50]} is refused: this connection is only for the renewal of the certificate",
        )
        self.first = first
        """Of its kind on this connection."""


class RenewalOnly:
    """What one such connection may do, and until when."""

    __slots__ = ("_refused", "until")

    def __init__(self, until: datetime) -> None:
        self.until = until
        self._refused: set[str] = set()

    def react(self, adapter: ProtocolAdapter, call: Call, now: datetime) -> Reaction:
        """As the adapter's, for what the renewal needs.

        :raises OutsideRenewalError: for everything else.
        :raises RefusedCallError: as the adapter's.
        """
        if call.action not in REQUESTS:
            raise self._outside(call.action)
        reaction = adapter.react(call.action, call.payload, now, BOOT_RETRY_SECONDS)
        if reaction.evidence is Evidence.CSR_RECEIVED and reaction.payload["certificate_type"] not in OWN_CERTIFICATE:
            raise self._outside(f"{call.action} for a {reaction.payload['certificate_type']}")
        if reaction.booted:
            return replace(reaction, answer={**reaction.answer, "status": "Pending"})
        return reaction

    def _outside(self, what: str) -> OutsideRenewalError:
        first = what not in self._refused and len(self._refused) < _MOST_REMEMBERED
        if first:
            self._refused.add(what)
        return OutsideRenewalError(what, first=first)
