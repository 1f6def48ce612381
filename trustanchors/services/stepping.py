"""One endpoint, step by step: what is asked of it next, until nothing is left to ask.

Everything here is called with the installation locked after its identity, inside the caller's transaction, attributed.
A step may be asked twice and its answer arrive twice, late or never; the outcome is as if it were asked once. What
follows from answers and connections is in `hearing`.
"""

from datetime import datetime, timedelta
from typing import Any

from bfcerts.ocpp import canonical, outbox
from bfcerts.ocpp.canonical import Action, ResetKind
from bfcerts.pki.hash_data import spellings
from inventory import seams
from inventory.audit import save_without_history
from inventory.services import caps
from trustanchors.choices import CERTIFICATE_USES, CONNECTION_USE, InstallationState, StepKind, StepState
from trustanchors.models import BundleInstallation, RolloutFamily, TrustAnchor
from trustanchors.services import coverage, installations, keeping_roots, listing, sequence
from trustanchors.services.returns import is_back

COMMAND_LIFETIME = timedelta(hours=1)
SETTLING = timedelta(minutes=2)
"""How long a canary is left to come back by itself before it is asked to restart."""
RESET_AGAIN = timedelta(minutes=30)
FULL_AGAIN = timedelta(minutes=2)
"""When a restart is tried again that had to wait because enough of its site are away."""
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
        settle(installation, now)
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
            return Action.DELETE_CERTIFICATE, canonical.delete_certificate(
                dict(variants[step["spelling"]]), step["use"]
            )
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


def check(installation: BundleInstallation, now: datetime) -> None:
    """Ask an endpoint again what it has installed."""
    use = CERTIFICATE_USES[installation.purpose]
    installation.awaiting = f"check.{int(now.timestamp())}"
    installation.next_check_at = now + installation.rollout.check_interval
    _enqueue(installation, Action.LIST_CERTIFICATES, canonical.list_certificates([use]), now=now)
    save_without_history(installation)


# -- a canary's return -----------------------------------------------------------------------------------------------


def absence(installation: BundleInstallation) -> str:
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
    elif not caps.take(installation.identity, absence(installation), now + RESET_AGAIN, now):
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


def settle(installation: BundleInstallation, now: datetime) -> None:
    """Nothing is left of its steps: delete what was replaced, or rest until it is asked again."""
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
