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

_ABBREVIATIONS = {"csr": "CSR"}


def command_words(action: str) -> str:
    """What a command is, as “Asked to restart”."""
    try:
        return _COMMANDS[Action(action)]
    except (KeyError, ValueError):
        return action.replace("_", " ").capitalize()


def event_words(event_type: str) -> str:
    """The name of a domain event in words: CertificateActivated becomes “Certificate activated”."""
    words = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z][a-z]+|[A-Z]+", event_type)
    lowered = [_ABBREVIATIONS.get(word.lower(), word.lower()) for word in words]
    text = " ".join(lowered)
    return text[:1].upper() + text[1:]
