"""The first charger of a family that gets anchors, and what is done when it does not come back."""

from datetime import datetime

from bfcerts.ocpp.models import StationSession
from inventory.choices import SecurityCategory, SecuritySource, Severity
from inventory.services import capabilities
from inventory.services.security_events import record_security_event
from trustanchors.choices import CERTIFICATE_USES, StepKind
from trustanchors.models import BundleInstallation, TrustAnchor
from trustanchors.services import installations, keeping_roots, returns
from trustanchors.services.sequence import Step


def is_lost(installation: BundleInstallation) -> bool:
    """Whether a canary changed its store, is away since, and did not come back."""
    if not installation.canary or installation.group.proven_at is not None:
        return False
    if returns.last_change(installation) is None or returns.is_back(installation):
        return False
    station = installation.identity.authoritative_identifier
    return not StationSession.objects.filter(station_id=station, closed_at__isnull=True).exists()


def lost(installation: BundleInstallation, now: datetime) -> None:
    """A canary did not come back in its time: its family stops here, says why, and is known for it from now on."""
    step, identity = returns.last_change(installation), installation.identity
    who, what = identity.authoritative_identifier, ""
    if step is not None:
        done = "installed on" if step["kind"] == StepKind.INSTALL else "deleted from"
        what = f" since {step['name']} was {done} it at {datetime.fromisoformat(step['at']):%Y-%m-%d %H:%M:%S} UTC"
    why = f"{who} is the first of its family ({installation.group}) and has not come back{what}."
    if step is not None and _forgot(installation, step):
        why += (
            " It seems to trust only the root that it was given last, which is not that of our server: its family is "
            "given no other root until you declare that it keeps several. Give the charger the root of our server "
            "again on site."
        )
        if identity.family is not None:
            source = f"{who} did not come back{what}"
            capabilities.observe(identity.family, keeping_roots.KEEPS, False, source, now, identity=identity)
    else:
        why += " See on site whether it can still connect, before another one is begun."
    installations.failed(installation, "lost", why, now)
    record_security_event(
        "AnchorCanaryLost",
        category=SecurityCategory.INSTALLATION,
        severity=Severity.CRITICAL,
        source=SecuritySource.CONTROL_PLANE,
        message=f"{why} No other charger of its family is begun.",
        now=now,
        identity=identity,
        station_id=who[:64],
        payload={"installationId": installation.pk, "rolloutId": installation.rollout_id},
        dedupe_key=f"anchor-canary-lost:{installation.pk}:{installation.round}",
    )


def _forgot(installation: BundleInstallation, step: Step) -> bool:
    if step["kind"] != StepKind.INSTALL:
        return False
    anchors = TrustAnchor.objects.filter(pk=step["anchor"])
    return bool(keeping_roots.endangering(anchors, CERTIFICATE_USES[installation.purpose]))
