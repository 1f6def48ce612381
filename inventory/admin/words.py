"""Names of events and commands in words for people."""

import re

from bfcerts.ocpp.canonical import Action

_COMMANDS = {
    Action.REQUEST_CSR: "Asked for a certificate signing request",
    Action.DELIVER_CERTIFICATE: "Certificate sent",
    Action.INSTALL_CERTIFICATE: "Trust anchor sent",
    Action.LIST_CERTIFICATES: "Asked what is installed",
    Action.DELETE_CERTIFICATE: "Asked to delete a certificate",
    Action.GET_LOG: "Asked for its log",
    Action.SET_VARIABLES: "Settings sent",
    Action.GET_VARIABLES: "Asked for settings",
    Action.SET_NETWORK_PROFILE: "Network profile sent",
    Action.RESET: "Asked to restart",
}

_PROPER = frozenset({"AuthorizationKey", "CSR", "CA", "TLS"})


def command_words(action: str) -> str:
    """What a command is, as “Asked to restart”."""
    try:
        return _COMMANDS[Action(action)]
    except (KeyError, ValueError):
        return action.replace("_", " ").capitalize()


def event_words(name: str) -> str:
    """The name of an event in words: CertificateActivated becomes “Certificate activated”."""
    if "_" in name:
        return name.replace("_", " ").capitalize()
    words = re.findall(r"AuthorizationKey|[A-Z]+(?=[A-Z][a-z])|[A-Z][a-z]+|[A-Z]+|[^A-Z]+", name)
    first, *others = [word if word in _PROPER else word.lower() for word in words] or [name]
    return " ".join([first[:1].upper() + first[1:], *others])
