"""What follows from what is heard of an endpoint: its answers, its silence and its return.

Everything here is called with the installation locked after its identity, inside the caller's transaction, attributed.
An answer may arrive twice, late or never; the outcome is as if it came once. What is asked next is in `stepping`.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from bfcerts.ocpp.canonical import NOT_APPLICABLE, CommandOutcome
from bfcerts.pki.hash_data import spellings
from inventory.audit import save_without_history
from inventory.choices import Capability
from inventory.services import capabilities, caps
from trustanchors.choices import CERTIFICATE_USES, InstallationState, StepKind, StepState
from trustanchors.models import BundleInstallation
from trustanchors.services import installations, listing, sequence
from trustanchors.services.returns import activate_if_back, changed_at
from trustanchors.services.stepping import absence, go_on, settle

BACK_OFF = timedelta(minutes=5)
MOST_BACK_OFF = timedelta(hours=2)
CHECK_AGAIN = timedelta(days=1)
"""When a station is asked again that did not say what it has."""
LEAST_PROFILE = 2
"""From here on a connection rests on the CSMS roots of the station: it has checked our server certificate."""
_UNKNOWN_COMMAND = frozenset({"NotSupported", "NotImplemented"})
_S = InstallationState


def answered(
    installation: BundleInstallation,
    name: str,
    *,
    outcome: CommandOutcome,
    error_code: str,
    detail: str,
    answer: Mapping[str, Any],
    now: datetime,
) -> None:
    """Take the answer to the command that is waited for. Any other is late or repeated, and changes nothing."""
    if name != installation.awaiting or installations.is_over(installation):
        return
    installation.awaiting = ""
    if name.startswith("check."):
        _check_answered(installation, outcome, answer, now)
        return
    number = int(name.split(".")[1])
    step = installation.steps[number]
    if outcome in (CommandOutcome.TIMED_OUT, CommandOutcome.EXPIRED):
        _try_again(installation, number, detail or f"No answer ({outcome}).", now)
    elif outcome == CommandOutcome.ERROR and error_code not in _UNKNOWN_COMMAND:
        _try_again(installation, number, detail, now)
    elif outcome == CommandOutcome.ERROR or answer.get("status") == NOT_APPLICABLE:
        _cannot(installation, number, detail, now)
    elif step["kind"] == StepKind.INSTALL:
        _install_answered(installation, number, outcome, detail, now)
    elif step["kind"] == StepKind.DELETE:
        _delete_answered(installation, number, outcome, detail, now)
    else:
        _list_answered(installation, number, outcome, detail, answer, now)


def _try_again(installation: BundleInstallation, number: int, why: str, now: datetime) -> None:
    """Silence and passing errors: the same step once more, later, until the deadline decides."""
    tries = int(installation.steps[number]["tries"])
    installations.note(installation, number, StepState.UNANSWERED, why, now)
    installation.next_run_at = now + min(MOST_BACK_OFF, BACK_OFF * 2 ** min(tries - 1, 8))
    save_without_history(installation)


def _cannot(installation: BundleInstallation, number: int, detail: str, now: datetime) -> None:
    """The station knows no such command: neither patience nor another try helps."""
    installations.note(installation, number, StepState.REFUSED, detail, now)
    step = installation.steps[number]
    if step["kind"] == StepKind.DELETE or installation.state == _S.WITHDRAWN:
        go_on(installation, now)
        return
    installations.failed(
        installation,
        "not_supported",
        f"The station cannot {sequence.describe(step)}: {detail or 'it knows no such command'}. Its family lacks this "
        "capability; its firmware has to learn it first.",
        now,
    )


def _install_answered(
    installation: BundleInstallation, number: int, outcome: CommandOutcome, detail: str, now: datetime
) -> None:
    """An anchor that was refused does not end the sequence: the root of our server chain must still go last."""
    accepted = outcome == CommandOutcome.ACCEPTED
    installations.note(installation, number, StepState.DONE if accepted else StepState.REFUSED, detail, now)
    following = sequence.present(installation.steps)
    if installation.state == _S.INTENDED and (following is None or following[1]["kind"] != StepKind.INSTALL):
        installations.delivered(installation, now)
    go_on(installation, now)


def _delete_answered(
    installation: BundleInstallation, number: int, outcome: CommandOutcome, detail: str, now: datetime
) -> None:
    """NotFound may mean that the station wants the serial spelt otherwise (conformance 8); the list tells at last."""
    if outcome == CommandOutcome.ACCEPTED:
        installations.note(installation, number, StepState.DONE, detail, now)
    else:
        steps = [dict(step) for step in installation.steps]
        spelling = steps[number]["spelling"] + 1
        if detail.startswith("NotFound") and spelling < len(list(spellings(steps[number]["hash_data"]))):
            steps[number]["spelling"] = spelling
            installation.steps = steps
        else:
            installations.note(installation, number, StepState.REFUSED, detail, now)
    go_on(installation, now)


def _list_answered(
    installation: BundleInstallation,
    number: int,
    outcome: CommandOutcome,
    detail: str,
    answer: Mapping[str, Any],
    now: datetime,
) -> None:
    if outcome != CommandOutcome.ACCEPTED:
        installations.note(installation, number, StepState.REFUSED, detail, now)
        if installation.state == _S.DELIVERED:
            installations.failed(
                installation, "not_listed", f"The station does not say what it has installed: {detail}.", now
            )
        else:
            go_on(installation, now)
        return
    installations.note(installation, number, StepState.DONE, detail, now)
    difference = _take_listing(installation, answer, now)
    if installation.state == _S.WITHDRAWN:
        go_on(installation, now)
    elif difference.missing:
        _is_missing(installation, difference, now)
    else:
        _were_there(installation, now)
        if installation.state == _S.DELIVERED:
            installations.installed(installation, now)
        activate_if_back(installation, now)
        go_on(installation, now)


def _were_there(installation: BundleInstallation, now: datetime) -> None:
    """What the station refused and lists all the same it had already: that is as good as installed."""
    for number, step in enumerate(installation.steps):
        if step["kind"] == StepKind.INSTALL and step["state"] == StepState.REFUSED:
            there = "The anchor was there already"
            said = f"{there} ({step['detail']})." if step["detail"] else f"{there}."
            installations.note(installation, number, StepState.DONE, said, now)


def _is_missing(installation: BundleInstallation, difference: listing.Difference, now: datetime) -> None:
    names = ", ".join(anchor.name for anchor in difference.missing)
    wanted = {anchor.pk for anchor in difference.missing}
    refused = [
        step
        for step in installation.steps
        if step["state"] == StepState.REFUSED and step["anchor"] in wanted and step["kind"] == StepKind.INSTALL
    ]
    installation.deadline = None
    if refused and installation.state == _S.DELIVERED:
        _show_failing(installation, refused, now)
        said = ", ".join(f"{step['name']} ({step['detail'] or 'without a reason'})" for step in refused)
        why = f"The station refused {said}; what else was sent is installed."
        installations.failed(installation, "refused", why, now)
    else:
        installation.next_check_at = now + installation.rollout.check_interval
        installations.mismatched(installation, f"The charger does not list {names}.", now)


def _show_failing(installation: BundleInstallation, refused: list[sequence.Step], now: datetime) -> None:
    """A root that a station failed to install, and does not list: that tells against a mere declaration of its family.

    One station's full store is no proof against a family that was seen to install.
    """
    identity = installation.identity
    failing = [step for step in refused if step["detail"].startswith("Failed")]
    if failing and identity.family is not None:
        capabilities.observe(
            identity.family,
            Capability.INSTALL_CERTIFICATE,
            False,
            f"{identity.authoritative_identifier} answered with {failing[0]['detail']} to {failing[0]['name']}, and "
            "does not list it",
            now,
            identity=identity,
            weak=True,
        )


def _take_listing(installation: BundleInstallation, answer: Mapping[str, Any], now: datetime) -> listing.Difference:
    entries = listing.read(answer, CERTIFICATE_USES[installation.purpose])
    installation.listed = listing.stored(entries)
    installation.checked_at = now
    intended = sequence.sendable(installation.rollout.bundle.ordered_anchors(), installation.identity.family)
    return listing.compare(entries, intended, [])


def _check_answered(
    installation: BundleInstallation, outcome: CommandOutcome, answer: Mapping[str, Any], now: datetime
) -> None:
    if outcome != CommandOutcome.ACCEPTED or answer.get("status") == NOT_APPLICABLE:
        installation.next_check_at = now + min(CHECK_AGAIN, installation.rollout.check_interval)
        save_without_history(installation)
        return
    difference = _take_listing(installation, answer, now)
    if difference.missing and installation.is_confirmed:
        _is_missing(installation, difference, now)
    elif not difference.missing and installation.state == _S.MISMATCHED:
        installations.installed(installation, now)
        installation.deadline = now + installation.rollout.deadline
        activate_if_back(installation, now)
        go_on(installation, now)
    else:
        activate_if_back(installation, now)
        save_without_history(installation)


# -- the connection --------------------------------------------------------------------------------------------------


def connected(installation: BundleInstallation, security_profile: int, at: datetime) -> None:
    """A new connection. After the last change to the station's store it proves that the store works."""
    changed = changed_at(installation)
    if security_profile < LEAST_PROFILE or changed is None or at <= changed:
        return
    installation.returned_at = at
    if installation.canary:
        caps.give_back(installation.identity, at, absence(installation))
    activate_if_back(installation, at)
    turn = sequence.present(installation.steps)
    if turn is not None and turn[1]["kind"] == StepKind.RETURN and installation.is_confirmed:
        installations.note(installation, turn[0], StepState.DONE, f"Came back on Profile {security_profile}.", at)
        installations.stop_asking(installation, at)
        go_on(installation, at)
    elif turn is None and installation.is_confirmed:
        settle(installation, at)
    else:
        save_without_history(installation)
