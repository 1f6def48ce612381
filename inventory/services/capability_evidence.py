"""What the wire shows of a charger's family: answers to commands, and messages that only capable stations send."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bfcerts.ocpp.canonical import NOT_APPLICABLE, Action, CommandOutcome
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import Capability
from inventory.models import ChargerFamily, ManagedIdentity
from inventory.services import capabilities
from inventory.words import command_words


@dataclass(frozen=True, slots=True)
class Shown:
    """Capabilities that something on the wire proves or denies."""

    found: Mapping[Capability, bool]
    what: str
    """What the station did, to follow its name."""


CERTIFICATE_REQUESTED = Shown(
    {Capability.SIGN_CERTIFICATE: True, Capability.LOCAL_KEY_AND_CSR: True}, "sent SignCertificate"
)
SECURITY_EVENT_REPORTED = Shown({Capability.SECURITY_EVENT_NOTIFICATION: True}, "sent SecurityEventNotification")
LOG_STATUS_REPORTED = Shown({Capability.GET_LOG: True}, "sent LogStatusNotification")
CONNECTED_BY_MUTUAL_TLS = Shown({Capability.PROFILE_3: True}, "connected by mutual TLS")

_PROVED_BY_ACCEPTING: Mapping[str, Capability] = {
    Action.DELIVER_CERTIFICATE: Capability.CERTIFICATE_SIGNED,
    Action.INSTALL_CERTIFICATE: Capability.INSTALL_CERTIFICATE,
    Action.LIST_CERTIFICATES: Capability.LIST_CERTIFICATES,
    Action.DELETE_CERTIFICATE: Capability.DELETE_CERTIFICATE,
    Action.GET_LOG: Capability.SECURITY_LOG_STORE,
}
"""A trigger that was accepted proves nothing: some stations send no request after it (conformance 6)."""
_DENIED_BY_REFUSING: Mapping[str, Capability] = {
    **_PROVED_BY_ACCEPTING,
    Action.GET_LOG: Capability.GET_LOG,
    Action.REQUEST_CSR: Capability.SIGN_CERTIFICATE,
}
_UNSUPPORTED = frozenset({"NotSupported", "NotImplemented"})
"""Error codes (OCPP-J 4.3) and statuses with which a station says that it has no such thing."""


def shown_by_answer(payload: Mapping[str, Any]) -> Shown | None:
    """What the answer to a command shows; most show nothing of the kind.

    One about certificates of ISO 15118 shows nothing of how a station deals with its own: 1.6 has other messages for
    them, and 2.0.1 another trigger.
    """
    if payload.get("plug_and_charge"):
        return None
    action = str(payload.get("action") or "")
    said = {str(payload.get("error_code") or ""), str(payload.get("status") or "")}
    if payload.get("outcome") == CommandOutcome.ACCEPTED:
        proved = _PROVED_BY_ACCEPTING.get(action)
        return (
            Shown({proved: True}, f"accepted “{command_words(action)}”")
            if proved and NOT_APPLICABLE not in said
            else None
        )
    if unsupported := said & _UNSUPPORTED:
        denied = _DENIED_BY_REFUSING.get(action)
        return (
            Shown({denied: False}, f"answered “{command_words(action)}” with {', '.join(sorted(unsupported))}")
            if denied
            else None
        )
    # A root that was refused tells nothing by itself: the station may have it already (`trustanchors` looks).
    return None


def take_in(identity: ManagedIdentity | None, shown: Shown | None, now: datetime) -> None:
    """Store what was shown, for the family of a charger. Most is known already: that is one query and no write."""
    if identity is None or identity.family_id is None or shown is None:
        return
    family = ChargerFamily(pk=identity.family_id)
    news = capabilities.news_in(family, shown.found, identity)
    if not news:
        return
    family = ChargerFamily.objects.get(pk=identity.family_id)
    source = f"{identity.authoritative_identifier} {shown.what}"
    with attributed(Actor.station(identity.authoritative_identifier), f"Observed: it {shown.what}"):
        for capability in news:
            capabilities.shown_by(identity, family, capability, shown.found[capability], source, now)
