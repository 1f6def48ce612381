"""One endpoint, step by step: what is asked of it next, and what follows from its answers, its silence and its return.

Everything here is called with the installation locked after its identity, inside the caller's transaction, attributed.
A step may be asked twice and its answer arrive twice, late or never; the outcome is as if it were asked once.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from bfcerts.ocpp import canonical, outbox
from bfcerts.ocpp.canonical import NOT_APPLICABLE, Action, CommandOutcome, ResetKind
from bfcerts.pki.hash_data import spellings
from inventory import seams
from inventory.audit import save_without_history
from inventory.choices import Capability
from inventory.services import capabilities, caps
from trustanchors.choices import CERTIFICATE_USES, CONNECTION_USE, InstallationState, StepKind, StepState
from trustanchors.models import BundleInstallation, RolloutFamily, TrustAnchor
from trustanchors.services import coverage, installations, keeping_roots, listing, sequence

COMMAND_LIFETIME = timedelta(hours=1)
BACK_OFF = timedelta(minutes=5)
MOST_BACK_OFF = timedelta(hours=2)
SETTLING = timedelta(minutes=2)
"""How long a canary is left to come back by itself before it is asked to restart."""
RESET_AGAIN = timedelta(minutes=30)
FULL_AGAIN = timedelta(minutes=2)
"""When a restart is tried again that had to wait because enough of its site are away."""
CHECK_AGAIN = timedelta(days=1)
"""When a station is asked again that did not say what it has."""
LEAST_PROFILE = 2
"""From here on a connection rests on the CSMS roots of the station: it has checked our server certificate."""
_UNKNOWN_COMMAND = frozenset({"NotSupported", "NotImplemented"})
_S = InstallationState


def begin(installation: BundleInstallation, *, canary: bool, now: datetime) -> None:
    """Begin an intended installation: its steps, its deadline, and the first command."""
    rollout, use = installation.rollout, CERTIFICATE_USES[installation.purpose]
    anchors = sequence.sendable(rollout.bundle.ordered_anchors(), installation.identity.family)
    installation.canary = canary
    keeps = keeping_roots.is_known(installation.identity.family_id)
    installation.steps = sequence.installing(anchors, use, coverage.closing_anchors(), keeps=keeps, canary=canary)
    installation.started_at = now
    installation.deadline = now + rollout.deadline
    installation.save()
    seams.watch_connections(installation.identity, installation.deadline)
    go_on(installation, now)


def go_on(installation: BundleInstallation, now: datetime) -> None:
    """Ask for the step whose turn it is, or settle where none is left."""
    turn = sequence.present(installation.steps)
    installation.next_run_at = None
    if turn is None:
        _settle(installation, now)
        return
    number, step = turn
    if step["kind"] == StepKind.RETURN:
        _await_return(installation, number, now)
    else:
        _ask(installation, number, now)


def _ask(installation: BundleInstallation, number: int, now: datetime) -> None:
    steps = [dict(step) for step in installation.steps]
    step = steps[number]
    step["tries"] += 1
    step["state"] = StepState.ASKED.value
    installation.steps = steps
    installation.awaiting = f"{installation.round}.{number}.{step['tries']}"
    _enqueue(installation, *_command(step), now=now)
    save_without_history(installation)


def _command(step: sequence.Step) -> tuple[Action, dict[str, Any]]:
    match step["kind"]:
        case StepKind.INSTALL:
            anchor = TrustAnchor.objects.get(pk=step["anchor"])
            return Action.INSTALL_CERTIFICATE, canonical.install_certificate(anchor.certificate_pem, step["use"])
        case StepKind.DELETE:
            variants = list(spellings(step["hash_data"]))
            return Action.DELETE_CERTIFICATE, canonical.delete_certificate(dict(variants[step["spelling"]]))
        case _:
            return Action.LIST_CERTIFICATES, canonical.list_certificates([step["use"]])


def _enqueue(installation: BundleInstallation, action: Action, payload: dict[str, Any], *, now: datetime) -> None:
    reference = installations.reference_of(installation, installation.awaiting)
    left = installation.deadline - now if installation.deadline else COMMAND_LIFETIME
    outbox.enqueue(
        station_id=installation.identity.authoritative_identifier,
        action=action,
        payload=payload,
        dedupe_key=reference,
        now=now,
        expires_after=max(timedelta(seconds=1), min(COMMAND_LIFETIME, left)),
        reference=reference,
    )


# -- answers ---------------------------------------------------------------------------------------------------------


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
        _activate_if_back(installation, now)
        go_on(installation, now)


def _were_there(installation: BundleInstallation, now: datetime) -> None:
    """What the station refused and lists all the same it had already: that is as good as installed."""
    for number, step in enumerate(installation.steps):
        if step["kind"] == StepKind.INSTALL and step["state"] == StepState.REFUSED:
            said = f"It was there already ({step['detail']})." if step["detail"] else "It was there already."
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
        installations.mismatched(installation, f"It does not list {names}.", now)


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


# -- the connection --------------------------------------------------------------------------------------------------


def connected(installation: BundleInstallation, security_profile: int, at: datetime) -> None:
    """A new connection. After the last change to the station's store it proves that the store works."""
    changed_at = _changed_at(installation)
    if security_profile < LEAST_PROFILE or changed_at is None or at <= changed_at:
        return
    installation.returned_at = at
    if installation.canary:
        caps.give_back(installation.identity, at, _absence(installation))
    _activate_if_back(installation, at)
    turn = sequence.present(installation.steps)
    if turn is not None and turn[1]["kind"] == StepKind.RETURN and installation.is_confirmed:
        installations.note(installation, turn[0], StepState.DONE, f"Came back on Profile {security_profile}.", at)
        installations.stop_asking(installation, at)
        go_on(installation, at)
    elif turn is None and installation.is_confirmed:
        _settle(installation, at)
    else:
        save_without_history(installation)


def last_change(installation: BundleInstallation) -> sequence.Step | None:
    """The step with which the station last said that it changed its store."""
    changes = [
        step
        for step in installation.steps
        if step["kind"] in (StepKind.INSTALL, StepKind.DELETE) and step["state"] == StepState.DONE and step["at"]
    ]
    return max(changes, key=lambda step: datetime.fromisoformat(step["at"]), default=None)


def _changed_at(installation: BundleInstallation) -> datetime | None:
    """When that was."""
    step = last_change(installation)
    return datetime.fromisoformat(step["at"]) if step is not None else None


def is_back(installation: BundleInstallation) -> bool:
    """Whether it has connected since its store was last changed."""
    changed_at = _changed_at(installation)
    return changed_at is not None and installation.returned_at is not None and installation.returned_at > changed_at


def _activate_if_back(installation: BundleInstallation, now: datetime) -> None:
    on_connection = CERTIFICATE_USES[installation.purpose] == CONNECTION_USE
    if installation.state == _S.INSTALLED and on_connection and is_back(installation):
        installations.active(installation, now)


def _absence(installation: BundleInstallation) -> str:
    """Whose work it is that sends a canary away (`inventory.services.caps`)."""
    return f"anchors:{installation.pk}"


def _await_return(installation: BundleInstallation, number: int, now: datetime) -> None:
    """A canary: leave it a while to come back, then ask it to restart."""
    if is_back(installation):
        installations.note(installation, number, StepState.DONE, "Came back.", now)
        go_on(installation, now)
        return
    step = installation.steps[number]
    if step["state"] == StepState.WAITING:
        installations.note(installation, number, StepState.ASKED, "", now)
        installation.next_run_at = now + SETTLING
        seams.watch_connections(installation.identity, installation.deadline or now + COMMAND_LIFETIME)
    elif not caps.take(installation.identity, _absence(installation), now + RESET_AGAIN, now):
        installation.next_run_at = now + FULL_AGAIN
    else:
        steps = [dict(one) for one in installation.steps]
        steps[number]["tries"] += 1
        installation.steps = steps
        name = f"{installation.round}.{number}.{steps[number]['tries']}"
        reference = installations.reference_of(installation, name)
        outbox.enqueue(
            station_id=installation.identity.authoritative_identifier,
            action=Action.RESET,
            payload=canonical.reset(ResetKind.ON_IDLE),
            dedupe_key=reference,
            now=now,
            expires_after=SETTLING,
            reference=reference,
        )
        installation.next_run_at = now + RESET_AGAIN
    save_without_history(installation)


# -- when nothing is left to ask -------------------------------------------------------------------------------------


def _settle(installation: BundleInstallation, now: datetime) -> None:
    if installation.state == _S.WITHDRAWN:
        _settle_withdrawn(installation, now)
        return
    replaced = _deletions(installation)
    if replaced:
        installation.steps = [*installation.steps, *replaced]
        installation.deadline = now + installation.rollout.deadline
        seams.watch_connections(installation.identity, installation.deadline)
        go_on(installation, now)
        return
    if installation.canary and is_back(installation):
        RolloutFamily.objects.filter(pk=installation.group_id, proven_at=None).update(proven_at=now, halted_by="")
    installation.deadline = None
    installation.next_check_at = now + installation.rollout.check_interval
    # Watched until it was asked twice: whoever was away when it changed is seen when it comes back.
    seams.watch_connections(installation.identity, now + 2 * installation.rollout.check_interval)
    save_without_history(installation)


def _deletions(installation: BundleInstallation) -> list[sequence.Step]:
    """What this charger had before and is not to have any more; only once the new is in use (A → A+B → B)."""
    use = CERTIFICATE_USES[installation.purpose]
    in_use = installation.state == _S.ACTIVE or (use != CONNECTION_USE and installation.state == _S.INSTALLED)
    if not in_use or any(step["kind"] == StepKind.DELETE for step in installation.steps):
        return []
    former = TrustAnchor.objects.filter(
        bundles__rollouts__installations__identity_id=installation.identity_id, purpose=installation.purpose
    ).distinct()
    entries = listing.restored(installation.listed or [])
    return sequence.deleting(list(former), entries, use, _kept(installation), canary=installation.canary)


def _kept(installation: BundleInstallation) -> set[str]:
    """Fingerprints that stay on this charger, whatever is replaced or withdrawn."""
    bundles = coverage.current_bundles([installation.identity_id], list(CERTIFICATE_USES))
    standing = TrustAnchor.objects.filter(bundles__in=bundles.get(installation.identity_id, set()))
    if installation.rollout.bundle.deletes_needed:
        return set(standing.values_list("fingerprint", flat=True))
    needed = [*coverage.server_roots(), *coverage.identity_roots()]
    return {*standing.values_list("fingerprint", flat=True), *(root.fingerprint for root in needed)}


def clear_after_withdrawal(installation: BundleInstallation, now: datetime) -> None:
    """Emergency: ask what is there, then delete what may not be trusted; what the connection rests on only where that
    was asked for."""
    use = CERTIFICATE_USES[installation.purpose]
    installation.steps = sequence.installing([], use, [], keeps=True, canary=False)
    installation.round += 1
    installation.deadline = now + installation.rollout.deadline
    go_on(installation, now)


def _settle_withdrawn(installation: BundleInstallation, now: datetime) -> None:
    use = CERTIFICATE_USES[installation.purpose]
    if not any(step["kind"] == StepKind.DELETE for step in installation.steps):
        entries = listing.restored(installation.listed or [])
        anchors = installation.rollout.bundle.ordered_anchors()
        steps = sequence.deleting(anchors, entries, use, _kept(installation), canary=False)
        if steps:
            installation.steps = [*installation.steps, *steps]
            go_on(installation, now)
            return
    installation.deadline = None
    save_without_history(installation)


# -- the recurring question ------------------------------------------------------------------------------------------


def check(installation: BundleInstallation, now: datetime) -> None:
    """Ask an endpoint again what it has installed."""
    use = CERTIFICATE_USES[installation.purpose]
    installation.awaiting = f"check.{int(now.timestamp())}"
    installation.next_check_at = now + installation.rollout.check_interval
    _enqueue(installation, Action.LIST_CERTIFICATES, canonical.list_certificates([use]), now=now)
    save_without_history(installation)


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
        _activate_if_back(installation, now)
        go_on(installation, now)
    else:
        _activate_if_back(installation, now)
        save_without_history(installation)
