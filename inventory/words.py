"""Codes in words for people: events, commands, steps, states and who did something.

Each closed set has its labels in `inventory.choices`; here they are looked up, and what no set knows is made readable.
The API gives the codes.
"""

import re

from bfcerts.console.presentation import NOTHING, spoken
from bfcerts.ocpp.canonical import Action
from inventory.choices import EventType, JobState, JobStep, RecordState, SystemPart

_COMMANDS = {
    Action.REQUEST_CSR: "Asked for a certificate signing request",
    Action.DELIVER_CERTIFICATE: "Certificate sent",
    Action.INSTALL_CERTIFICATE: "Trust anchor sent",
    Action.LIST_CERTIFICATES: "Asked what is installed",
    Action.DELETE_CERTIFICATE: "Asked to delete a certificate",
    Action.GET_LOG: "Asked for its log",
    Action.SET_VARIABLES: "Settings sent",
    Action.GET_VARIABLES: "Asked for settings",
    Action.GET_SETTINGS: "Asked for settings",
    Action.CHANGE_SETTING: "Setting sent",
    Action.SET_AUTHORIZATION_KEY: "New AuthorizationKey sent",
    Action.SET_NETWORK_PROFILE: "Network profile sent",
    Action.SET_NETWORK_PRIORITY: "Order of network profiles sent",
    Action.SET_SECURITY_PROFILE: "Security profile sent",
    Action.RESET: "Asked to restart",
}

_EVENTS: dict[str, str] = {
    EventType.REVOCATION_PROPAGATED: "Revocation confirmed by the CA",
    EventType.CSR_VALIDATED: "Certificate signing request accepted",
    EventType.CSR_REJECTED: "Certificate signing request refused",
    EventType.MIGRATION_STATE_CHANGED: "Move to Profile 3",
    EventType.MIGRATION_QUARANTINED: "Move to Profile 3 stopped: quarantine",
}
"""Events whose names are the specification's and say too little to whoever has not read it."""
_PROPER = frozenset({"AuthorizationKey", "CSR", "CA", "TLS"})
_STATES = dict([*JobState.choices, *RecordState.choices])
_STEPS = dict(JobStep.choices)
_PARTS = dict(SystemPart.choices)
_STEP = re.compile(r"\bStep ([a-z_]+)(?= ended)")
_ANSWER = re.compile(r"\bAnswer to ([a-z]+(?:_[a-z]+)+)(?=:)")
_ACTOR = re.compile(r"\b(person|station|system):([\w.@+-]+)")


def counted(number: int, one: str, many: str = "") -> str:
    """How many of something: “1 charger”, “2,000 chargers”; `many` where it is not `one` with an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def part_of(part: int, whole: int, one: str, many: str = "") -> str:
    """How many of how many: “1 of 1 charger”, “0 of 3 chargers”."""
    return f"{part:,} of {counted(whole, one, many)}"


def agreeing(number: int, one: str, many: str) -> str:
    """The form of a verb that belongs to a number: “1 is”, “2 are”."""
    return one if number == 1 else many


def command_words(action: str) -> str:
    """What a command is, as “Asked to restart”."""
    try:
        return _COMMANDS[Action(action)]
    except (KeyError, ValueError):
        return action.replace("_", " ").capitalize()


def event_words(name: str) -> str:
    """The name of an event in words: CertificateActivated becomes “Certificate activated”."""
    if told := _EVENTS.get(name):
        return told
    if "_" in name:
        return name.replace("_", " ").capitalize()
    words = re.findall(r"AuthorizationKey|[A-Z]+(?=[A-Z][a-z])|[A-Z][a-z]+|[A-Z]+|[^A-Z]+", name)
    first, *others = [word if word in _PROPER else word.lower() for word in words] or [name]
    return " ".join([first[:1].upper() + first[1:], *others])


def step_words(step: str) -> str:
    """A step of a job: await_csr becomes “The endpoint sends its certificate signing request”."""
    return _STEPS.get(step) or spoken(step)


def state_words(state: str) -> str:
    """The state that an event led to, by whatever it is a state of."""
    return _STATES.get(state) or (spoken(state) if state else NOTHING)


def actor_words(name: str) -> str:
    """Who did something: “person:maria” becomes “maria”, “system:renewal” becomes “Automatic renewal”."""
    kind, separator, rest = name.partition(":")
    if not separator:
        return name
    match kind:
        case "person":
            return rest
        case "station":
            return f"Station {rest}"
        case "system":
            return _PARTS.get(rest) or spoken(rest.replace("-", "_"))
        case _:
            return name


def in_words(sentence: str) -> str:
    """A stored sentence, with the actors, the step and the command that it names in words."""
    named = _STEP.sub(lambda found: f"Step “{step_words(found[1])}”", sentence)
    named = _ANSWER.sub(lambda found: f"Answer to “{command_words(found[1])}”", named)
    return _ACTOR.sub(lambda found: actor_words(found[0]), named)


def source_words(source: str) -> str:
    """Where evidence comes from: an actor in words, or what observed it."""
    words = _PARTS.get(source) or actor_words(source)
    return words[:1].upper() + words[1:] if words.startswith(("gateway ", "station ", "listener ")) else words
