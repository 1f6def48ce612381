"""The transitions of an installation: the one place where its state moves, under the locks of its identity and row."""

from datetime import datetime

from bfcerts.ocpp import outbox
from inventory.choices import EventType, SecurityCategory, SecuritySource, Severity
from inventory.models import ManagedIdentity
from inventory.services.events import record_event
from inventory.services.locking import lock_identity
from inventory.services.security_events import record_security_event
from trustanchors.choices import InstallationState, StepState
from trustanchors.models import BundleInstallation, RolloutFamily

KIND = "anchors"
"""Of the references of our commands."""


def lock(installation_id: int) -> BundleInstallation | None:
    """An installation, locked after its identity, until the end of the transaction; None where there is none."""
    identity_id = BundleInstallation.objects.filter(pk=installation_id).values_list("identity_id", flat=True).first()
    return lock_of(lock_identity(identity_id), installation_id) if identity_id is not None else None


def lock_of(identity: ManagedIdentity, installation_id: int) -> BundleInstallation:
    """An installation of an identity that the caller has locked."""
    installation = (
        BundleInstallation.objects.select_for_update(of=("self",))
        .select_related("rollout__bundle", "rollout__cohort", "group__family")
        .get(pk=installation_id)
    )
    installation.identity = identity
    return installation


def reference_of(installation: BundleInstallation, name: str) -> str:
    """What the answer to a command of this installation comes back with."""
    return f"{KIND}:{installation.pk}:{name}"


def delivered(installation: BundleInstallation, now: datetime) -> None:
    """intended → delivered: every anchor was sent, and answered."""
    installation.delivered_at = now
    installation.deliver()
    installation.save()


def installed(installation: BundleInstallation, now: datetime) -> None:
    """delivered or mismatched → installed: the endpoint lists what is intended."""
    installation.installed_at = now
    installation.reason_code = ""
    installation.detail = ""
    installation.confirm()
    installation.save()
    record_event(
        EventType.TRUST_ANCHOR_INSTALLED,
        now=now,
        identity=installation.identity,
        payload={**payload_of(installation), "installedAt": now.isoformat()},
        resulting_state=installation.state,
    )


def active(installation: BundleInstallation, now: datetime) -> None:
    """installed → active: it has connected since in a way that needed its anchors."""
    installation.activated_at = now
    installation.activate()
    installation.save()


def mismatched(installation: BundleInstallation, why: str, now: datetime) -> None:
    """→ mismatched: an event, and a state that stays in sight until it lists what is intended, or is begun anew."""
    installation.mismatched_at = now
    installation.reason_code = "mismatched"
    installation.detail = why
    installation.mismatch()
    installation.save()
    record_event(
        EventType.TRUST_ANCHOR_MISMATCH_DETECTED,
        now=now,
        identity=installation.identity,
        payload={**payload_of(installation), "detail": why, "listed": installation.listed},
        resulting_state=installation.state,
    )
    record_security_event(
        "TrustAnchorMismatch",
        category=SecurityCategory.INSTALLATION,
        severity=Severity.WARNING,
        source=SecuritySource.CONTROL_PLANE,
        message=f"{installation.identity.authoritative_identifier} does not have the anchors that it should: {why}",
        now=now,
        identity=installation.identity,
        station_id=installation.identity.authoritative_identifier[:64],
        payload={"installationId": installation.pk, "bundleVersion": installation.rollout.bundle.version},
    )


def failed(installation: BundleInstallation, code: str, why: str, now: datetime) -> None:
    """→ failed: refused, or silent past its deadline. What was not sent yet is not sent any more."""
    stop_asking(installation, now)
    installation.deadline = installation.next_check_at = None
    installation.reason_code = code
    installation.detail = why
    installation.fail()
    installation.save()
    if installation.canary:
        RolloutFamily.objects.filter(pk=installation.group_id, proven_at=None).update(halted_by=why)
    record_event(
        EventType.INSTALL_FAILED,
        now=now,
        identity=installation.identity,
        payload={**payload_of(installation), "failureReason": why, "failureCode": code},
        resulting_state=installation.state,
    )


def withdrawn(installation: BundleInstallation, why: str, now: datetime) -> None:
    """→ withdrawn: not intended any more. What was not sent yet is not sent any more."""
    stop_asking(installation, now)
    installation.deadline = installation.next_check_at = None
    installation.reason_code = "withdrawn"
    installation.detail = why
    installation.withdraw()
    installation.save()


def stop_asking(installation: BundleInstallation, now: datetime) -> None:
    """Withdraw the command that waits, and wait for no answer; one that comes all the same is only noted."""
    if installation.awaiting:
        outbox.cancel([reference_of(installation, installation.awaiting)], now=now)
    installation.awaiting = ""
    installation.next_run_at = None


def begun_anew(installation: BundleInstallation, why: str) -> None:
    """failed or mismatched → intended: the next round, in which it is nobody's canary until it is chosen."""
    if installation.canary:
        RolloutFamily.objects.filter(pk=installation.group_id).update(halted_by="")
    installation.round += 1
    installation.steps = []
    installation.canary = False
    installation.started_at = installation.delivered_at = installation.returned_at = None
    installation.deadline = installation.next_run_at = installation.next_check_at = None
    installation.awaiting = ""
    installation.retry_asked_at = None
    installation.reason_code = ""
    installation.detail = why
    installation.retry()
    installation.save()


def payload_of(installation: BundleInstallation) -> dict[str, object]:
    """The fields that every event of an installation carries."""
    bundle = installation.rollout.bundle
    return {
        "managedIdentityId": installation.identity_id,
        "purpose": installation.purpose,
        "trustAnchorBundleId": bundle.pk,
        "bundleVersion": bundle.version,
        "rolloutId": installation.rollout_id,
        "installationId": installation.pk,
        "cohort": installation.rollout.cohort.name,
    }


def note(installation: BundleInstallation, number: int, state: StepState, detail: str, now: datetime) -> None:
    """How a step stands now, in the station's own words where it said any."""
    steps = [dict(step) for step in installation.steps]
    steps[number] |= {"state": state.value, "detail": detail[:300], "at": now.isoformat()}
    installation.steps = steps


def is_over(installation: BundleInstallation) -> bool:
    """Whether nothing more is done with it: it was replaced, or has ended."""
    return not installation.current or installation.state == InstallationState.FAILED
