"""The closed sets of trust anchors: each value with its label, colour and grouping, stated once."""

from django.db import models

from inventory.purposes import BACKEND_SERVER, CHARGER_IDENTITY, ISO15118_CONTRACT, ISO15118_EVSE_LEAF


class BundleState(models.TextChoices):
    """The life of a numbered version of anchors."""

    DRAFT = "draft", "Draft"
    RELEASED = "released", "Released"
    SUPERSEDED = "superseded", "Superseded"
    WITHDRAWN = "withdrawn", "Withdrawn"


BUNDLE_TRANSITIONS: dict[str, frozenset[str]] = {
    BundleState.DRAFT: frozenset({BundleState.RELEASED, BundleState.WITHDRAWN}),
    BundleState.RELEASED: frozenset({BundleState.SUPERSEDED, BundleState.WITHDRAWN}),
    BundleState.SUPERSEDED: frozenset({BundleState.RELEASED, BundleState.WITHDRAWN}),
    BundleState.WITHDRAWN: frozenset(),
}
"""A superseded version can be released once more: that is a rollback. A withdrawn one never comes back."""
BUNDLE_COLOURS: dict[str, str] = {
    BundleState.DRAFT: "info",
    BundleState.RELEASED: "success",
    BundleState.SUPERSEDED: "default",
    BundleState.WITHDRAWN: "danger",
}


class RolloutState(models.TextChoices):
    """The life of one release to one cohort."""

    PLANNED = "planned", "Planned"
    RUNNING = "running", "Running"
    PAUSED = "paused", "Paused"
    COMPLETE = "complete", "Complete"
    STOPPED = "stopped", "Stopped"
    WITHDRAWN = "withdrawn", "Withdrawn"
    ROLLED_BACK = "rolled_back", "Rolled back"


_R = RolloutState
ROLLOUT_TRANSITIONS: dict[str, frozenset[str]] = {
    _R.PLANNED: frozenset({_R.RUNNING, _R.STOPPED, _R.WITHDRAWN}),
    _R.RUNNING: frozenset({_R.PAUSED, _R.COMPLETE, _R.STOPPED, _R.WITHDRAWN, _R.ROLLED_BACK}),
    _R.PAUSED: frozenset({_R.RUNNING, _R.STOPPED, _R.WITHDRAWN, _R.ROLLED_BACK}),
    _R.COMPLETE: frozenset({_R.RUNNING, _R.WITHDRAWN, _R.ROLLED_BACK}),
    _R.STOPPED: frozenset({_R.RUNNING, _R.WITHDRAWN, _R.ROLLED_BACK}),
    _R.WITHDRAWN: frozenset(),
    _R.ROLLED_BACK: frozenset({_R.WITHDRAWN}),
}
ROLLOUT_COLOURS: dict[str, str] = {
    _R.PLANNED: "info",
    _R.RUNNING: "info",
    _R.PAUSED: "warning",
    _R.COMPLETE: "success",
    _R.STOPPED: "warning",
    _R.WITHDRAWN: "danger",
    _R.ROLLED_BACK: "default",
}
OPENING_STATES = (_R.RUNNING, _R.PAUSED, _R.COMPLETE)
"""In these the gate opens at the threshold; in every other it is closed."""
STANDING_STATES = (_R.PLANNED, _R.RUNNING, _R.PAUSED, _R.COMPLETE, _R.STOPPED)
"""What a cohort is meant to have; it has one such rollout for each purpose."""


class InstallationState(models.TextChoices):
    """A bundle on one endpoint (domain.md, Trust-anchor installation)."""

    INTENDED = "intended", "Intended"
    DELIVERED = "delivered", "Delivered, not yet listed"
    INSTALLED = "installed", "Installed"
    ACTIVE = "active", "Active"
    FAILED = "failed", "Failed"
    MISMATCHED = "mismatched", "Mismatched"
    WITHDRAWN = "withdrawn", "Withdrawn"


_I = InstallationState
INSTALLATION_TRANSITIONS: dict[str, frozenset[str]] = {
    _I.INTENDED: frozenset({_I.DELIVERED, _I.FAILED, _I.WITHDRAWN}),
    _I.DELIVERED: frozenset({_I.INSTALLED, _I.MISMATCHED, _I.FAILED, _I.WITHDRAWN}),
    _I.INSTALLED: frozenset({_I.ACTIVE, _I.MISMATCHED, _I.FAILED, _I.WITHDRAWN}),
    _I.ACTIVE: frozenset({_I.MISMATCHED, _I.FAILED, _I.WITHDRAWN}),
    _I.MISMATCHED: frozenset({_I.INTENDED, _I.INSTALLED, _I.FAILED, _I.WITHDRAWN}),
    _I.FAILED: frozenset({_I.INTENDED, _I.WITHDRAWN}),
    _I.WITHDRAWN: frozenset(),
}
INSTALLATION_COLOURS: dict[str, str] = {
    _I.INTENDED: "info",
    _I.DELIVERED: "warning",
    _I.INSTALLED: "success",
    _I.ACTIVE: "success",
    _I.FAILED: "danger",
    _I.MISMATCHED: "danger",
    _I.WITHDRAWN: "default",
}
CONFIRMED_STATES = (_I.INSTALLED, _I.ACTIVE)
"""What counts for the threshold."""
FAILED_STATES = (_I.FAILED, _I.MISMATCHED)
"""What counts for the failure limit of a family."""
UNFINISHED_STATES = (_I.INTENDED, _I.DELIVERED)

CERTIFICATE_USES: dict[str, str] = {
    CHARGER_IDENTITY.key: "CSMSRootCertificate",
    BACKEND_SERVER.key: "CSMSRootCertificate",
    ISO15118_EVSE_LEAF.key: "V2GRootCertificate",
    ISO15118_CONTRACT.key: "MORootCertificate",
}
"""Where a charger keeps the anchors of a purpose (OCPP 2.0.1, InstallCertificateUseEnumType).

A station checks CertificateSigned against its CSMS roots, so the root of the charger identity CA is one of them. The
anchors of every other purpose are not delivered over OCPP.
"""
CONNECTION_USE = "CSMSRootCertificate"
"""The store that decides whether a charger can connect."""
GATING_PURPOSES = (CHARGER_IDENTITY.key, BACKEND_SERVER.key)
"""First enrolments and cut-overs rest on the anchors of these."""


class StepKind(models.TextChoices):
    """What is done on one endpoint, in this order."""

    INSTALL = "install", "Install an anchor"
    LIST = "list", "Ask what is installed"
    RETURN = "return", "Come back"
    DELETE = "delete", "Delete a replaced anchor"


class StepState(models.TextChoices):
    """How a step stands."""

    WAITING = "waiting", "Waiting"
    ASKED = "asked", "Asked"
    DONE = "done", "Done"
    REFUSED = "refused", "Refused"
    UNANSWERED = "unanswered", "Not answered"


STEP_COLOURS: dict[str, str] = {
    StepState.WAITING: "default",
    StepState.ASKED: "info",
    StepState.DONE: "success",
    StepState.REFUSED: "danger",
    StepState.UNANSWERED: "warning",
}
