"""The steps on one endpoint, in an order that never strands it.

Some stations trust only the CSMS root that was installed last (conformance 3), and of most nobody knows. So whatever is
sent to a charger's CSMS store, the root of our present server chain is installed once more at the end, also where it
belongs to another bundle; but for families that are known to keep the roots that they have.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from inventory.models import ChargerFamily
from trustanchors.choices import CONNECTION_USE, StepKind, StepState
from trustanchors.models import TrustAnchor
from trustanchors.services.listing import Entry

Step = dict[str, Any]
ENDED = (StepState.DONE, StepState.REFUSED)


def sendable(anchors: Iterable[TrustAnchor], family: ChargerFamily | None) -> list[TrustAnchor]:
    """The anchors that may be sent to a family: roots, and others only where the family is known to take them.

    A certificate that is not self-signed can be neither listed nor deleted on one stack (conformance 16).
    """
    takes_others = family is not None and family.accepts_intermediate_roots
    return [anchor for anchor in anchors if anchor.self_signed or takes_others]


def in_order(
    anchors: Sequence[TrustAnchor], use: str, closing: Sequence[TrustAnchor], *, keeps: bool
) -> list[TrustAnchor]:
    """The order of installation: the anchors of the bundle, and those of our present server chain at the end.

    :param keeps: the family is known to keep several roots, so that those of another bundle are not sent once more.
    """
    if use != CONNECTION_USE:
        return list(anchors)
    last = {anchor.fingerprint for anchor in closing}
    before = [anchor for anchor in anchors if anchor.fingerprint not in last]
    if keeps:
        return [*before, *(anchor for anchor in anchors if anchor.fingerprint in last)]
    return [*before, *closing]


def installing(
    anchors: Sequence[TrustAnchor], use: str, closing: Sequence[TrustAnchor], *, keeps: bool, canary: bool
) -> list[Step]:
    """Install each, ask what is there, and, for the first of a family, come back."""
    steps = [_step(StepKind.INSTALL, use, anchor) for anchor in in_order(anchors, use, closing, keeps=keeps)]
    return [*steps, _step(StepKind.LIST, use), *_coming_back(use, canary)]


def deleting(
    former: Sequence[TrustAnchor], entries: Sequence[Entry], use: str, kept: Iterable[str], *, canary: bool
) -> list[Step]:
    """Delete what is replaced and still listed, each by the very hash data that the station reported.

    :param kept: fingerprints of what must stay: what other bundles intend, and what the connection rests on.
    """
    keep = set(kept)
    steps = [
        {**_step(StepKind.DELETE, use, anchor), "hash_data": entry.hash_data, "spelling": 0}
        for anchor in former
        if anchor.fingerprint not in keep
        for entry in entries
        if entry.names(anchor)
    ]
    if not steps:
        return []
    return [*steps, _step(StepKind.LIST, use), *_coming_back(use, canary)]


def present(steps: Sequence[Step]) -> tuple[int, Step] | None:
    """The step whose turn it is."""
    return next(((number, step) for number, step in enumerate(steps) if step["state"] not in ENDED), None)


def describe(step: Step) -> str:
    """A step in words, for whoever waits for it."""
    name = step.get("name") or step["use"]
    match step["kind"]:
        case StepKind.INSTALL:
            return f"install {name}"
        case StepKind.DELETE:
            return f"delete {name}"
        case StepKind.LIST:
            return f"say what it has installed ({step['use']})"
        case _:
            return "come back"


def _coming_back(use: str, canary: bool) -> list[Step]:
    return [_step(StepKind.RETURN, use)] if canary else []


def _step(kind: StepKind, use: str, anchor: TrustAnchor | None = None) -> Step:
    return {
        "kind": kind.value,
        "use": use,
        "anchor": anchor.pk if anchor else None,
        "name": anchor.name if anchor else "",
        "state": StepState.WAITING.value,
        "tries": 0,
        "detail": "",
        "at": None,
    }
