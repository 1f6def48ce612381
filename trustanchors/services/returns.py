"""Whether a charger has been back since its store of roots was last changed, which proves that the store works."""

from datetime import datetime

from trustanchors.choices import CERTIFICATE_USES, CONNECTION_USE, InstallationState, StepKind, StepState
from trustanchors.models import BundleInstallation
from trustanchors.services import installations, sequence


def last_change(installation: BundleInstallation) -> sequence.Step | None:
    """The step with which the station last said that it changed its store."""
    changes = [
        step
        for step in installation.steps
        if step["kind"] in (StepKind.INSTALL, StepKind.DELETE) and step["state"] == StepState.DONE and step["at"]
    ]
    return max(changes, key=lambda step: datetime.fromisoformat(step["at"]), default=None)


def changed_at(installation: BundleInstallation) -> datetime | None:
    """When it said so; None where it never did."""
    step = last_change(installation)
    return datetime.fromisoformat(step["at"]) if step is not None else None


def is_back(installation: BundleInstallation) -> bool:
    """Whether it has connected since its store was last changed."""
    since = changed_at(installation)
    return since is not None and installation.returned_at is not None and installation.returned_at > since


def activate_if_back(installation: BundleInstallation, now: datetime) -> None:
    """What is used by connecting is active as soon as the charger is back."""
    on_connection = CERTIFICATE_USES[installation.purpose] == CONNECTION_USE
    if installation.state == InstallationState.INSTALLED and on_connection and is_back(installation):
        installations.active(installation, now)
