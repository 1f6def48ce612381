"""The closed sets of provisioning: states with their table, paths, who says something, and what it can mean."""

from datetime import timedelta

from django.db import models

from inventory.choices import OperatingMode


class CaseState(models.TextChoices):
    """The life of a provisioning case."""

    PREREQUISITE = "prerequisite", "Prerequisites"
    DELIVERY = "delivery", "Delivery"
    PENDING_ACTIVATION = "pending_activation", "Delivered, not yet usable"
    ACTIVE = "active", "Active"
    FAILED = "failed", "Failed"
    BLOCKED = "blocked", "Blocked"
    CANCELLED = "cancelled", "Cancelled"


_C = CaseState
CASE_TRANSITIONS: dict[str, frozenset[str]] = {
    _C.PREREQUISITE: frozenset({_C.DELIVERY, _C.FAILED, _C.BLOCKED, _C.CANCELLED}),
    _C.DELIVERY: frozenset({_C.PENDING_ACTIVATION, _C.FAILED, _C.BLOCKED, _C.CANCELLED}),
    _C.PENDING_ACTIVATION: frozenset({_C.ACTIVE, _C.FAILED, _C.BLOCKED, _C.CANCELLED}),
    _C.ACTIVE: frozenset({_C.BLOCKED}),
    _C.FAILED: frozenset({_C.PREREQUISITE, _C.BLOCKED, _C.CANCELLED}),
    _C.BLOCKED: frozenset({_C.PREREQUISITE, _C.CANCELLED}),
    _C.CANCELLED: frozenset(),
}
"""The transition table of domain.md. What leaves a block begins anew, as a retry does."""
MOVING = (_C.PREREQUISITE, _C.DELIVERY, _C.PENDING_ACTIVATION)
"""These go on by themselves, and have a deadline."""
OPEN = (*MOVING, _C.FAILED, _C.BLOCKED)
"""Of these an identity has one for each purpose and slot; a failed or blocked one may be taken up again."""
CASE_COLOURS: dict[str, str] = {
    _C.PREREQUISITE: "info",
    _C.DELIVERY: "info",
    _C.PENDING_ACTIVATION: "warning",
    _C.ACTIVE: "success",
    _C.FAILED: "danger",
    _C.BLOCKED: "danger",
    _C.CANCELLED: "default",
}


class PathKey(models.TextChoices):
    """By which way a case is provisioned."""

    HUBJECT = "hubject", "Hubject Plug and Charge"
    OPNC = "opnc", "CharIN OPNC"
    OCPI = "ocpi", "OCPI partner"
    OEM = "oem", "Vehicle manufacturer"
    EST = "est", "Enrolment over EST"
    MANUAL = "manual", "By hand"


class ExternalSystem(models.TextChoices):
    """Who said something."""

    HUBJECT = "hubject", "Hubject"
    OPNC = "opnc", "CharIN OPNC"
    OCPI = "ocpi", "OCPI partner"
    OEM = "oem", "Vehicle manufacturer"
    EST = "est", "Enrolment service"
    POOL = "pool", "Our contract certificate pool"
    STATUS = "status", "OCSP responder or revocation list"
    VAS_BACKEND = "vas_backend", "Vehicle backend"
    LIFECYCLE = "lifecycle", "Our own lifecycle"
    MANUAL = "manual", "A person"


class EvidenceKind(models.TextChoices):
    """What an external answer is about."""

    REQUEST = "request", "Answer to a request"
    DELIVERY = "delivery", "Delivery, installation or acceptance"
    READINESS = "readiness", "Readiness, as its authority says"
    TRANSACTION = "transaction", "Authenticated transaction with it"
    CERTIFICATE_STATUS = "certificate_status", "Certificate status"
    NOTICE = "notice", "Notice of its authority"


class Outcome(models.TextChoices):
    """What an external answer means for the case."""

    POSITIVE = "positive", "Positive"
    IN_PROGRESS = "in_progress", "In progress"
    INFORMATIVE = "informative", "For information"
    REFUSED = "refused", "Refused"
    SUSPENDED = "suspended", "Suspended"
    REVOKED = "revoked", "Revoked"
    REINSTATED = "reinstated", "Usable again"


ADVERSE = (Outcome.SUSPENDED, Outcome.REVOKED)
"""These block a case at once."""
RELEASING = (Outcome.POSITIVE, Outcome.REINSTATED)
"""A block is lifted on one of these only, said after what it was blocked for."""

FRESH_FOR: dict[str, timedelta] = {
    EvidenceKind.REQUEST: timedelta(days=7),
    EvidenceKind.DELIVERY: timedelta(days=30),
    EvidenceKind.READINESS: timedelta(days=1),
    EvidenceKind.TRANSACTION: timedelta(days=1),
    EvidenceKind.CERTIFICATE_STATUS: timedelta(days=1),
    EvidenceKind.NOTICE: timedelta(days=1),
}
"""How long each kind of evidence says something about now. A status has the shorter of this and its own nextUpdate."""


class Standing(models.TextChoices):
    """How far a piece of evidence can be relied on now."""

    VALID = "valid", "Valid"
    STALE = "stale", "Stale"
    UNFINISHED = "unfinished", "Says nothing yet"
    NOT_AUTHORITATIVE = "not_authoritative", "Not from its authority"
    ADVERSE = "adverse", "Against it"


STANDING_COLOURS: dict[str, str] = {
    Standing.VALID: "success",
    Standing.STALE: "warning",
    Standing.UNFINISHED: "info",
    Standing.NOT_AUTHORITATIVE: "default",
    Standing.ADVERSE: "danger",
}


class OurRole(models.TextChoices):
    """What we are for a purpose in a program; it decides the operating mode."""

    ISSUER = "issuer", "Issuer"
    BROKER = "broker", "Broker"
    DISTRIBUTOR = "distributor", "Distributor"
    VALIDATOR = "validator", "Validator"
    TRACKER = "tracker", "Tracker"
    OBSERVER = "observer", "Observer"


MODE_OF_ROLE: dict[str, OperatingMode] = {
    OurRole.ISSUER: OperatingMode.MANAGED,
    OurRole.BROKER: OperatingMode.BROKERED,
    OurRole.DISTRIBUTOR: OperatingMode.BROKERED,
    OurRole.VALIDATOR: OperatingMode.BROKERED,
    OurRole.TRACKER: OperatingMode.TRACKED_ONLY,
    OurRole.OBSERVER: OperatingMode.TRACKED_ONLY,
}


class Variability(models.TextChoices):
    """Whether a decision is the same everywhere."""

    GLOBAL = "global", "The same everywhere"
    CUSTOMER = "customer", "Differs by customer"
    GEOGRAPHY = "geography", "Differs by geography"
    OEM = "oem", "Differs by vehicle manufacturer"
    PROGRAM = "program", "Differs by charging program"
