"""The inventory's tables, one aggregate a file."""

from inventory.models.absence import PlannedAbsence, SitePolicy
from inventory.models.artifact import AbandonedUpload, Artifact, StationLog
from inventory.models.authority import AuditReport, IssuanceIntent, IssuingAuthority, PublicKeyOwner
from inventory.models.capability import CapabilityDoubt, FamilyCapability
from inventory.models.cohort import Cohort
from inventory.models.event import DomainEvent, SecurityEvent
from inventory.models.evidence import Evidence
from inventory.models.family import ChargerFamily
from inventory.models.idempotency import IdempotencyKey
from inventory.models.identity import ManagedIdentity
from inventory.models.job import CertificateJob, UntoldJobEnd
from inventory.models.plan import Plan, PlanTarget
from inventory.models.policy import LifecyclePolicy
from inventory.models.record import CertificateRecord
from inventory.models.scheduling import EventCursor, PeriodicTask, QueueBeat, RateBucket, Setback
from inventory.models.upstream import Upstream

__all__ = [
    "AbandonedUpload",
    "Artifact",
    "AuditReport",
    "CapabilityDoubt",
    "CertificateJob",
    "CertificateRecord",
    "ChargerFamily",
    "Cohort",
    "DomainEvent",
    "EventCursor",
    "Evidence",
    "FamilyCapability",
    "IdempotencyKey",
    "IssuanceIntent",
    "IssuingAuthority",
    "LifecyclePolicy",
    "ManagedIdentity",
    "PeriodicTask",
    "Plan",
    "PlanTarget",
    "PlannedAbsence",
    "PublicKeyOwner",
    "QueueBeat",
    "RateBucket",
    "SecurityEvent",
    "Setback",
    "SitePolicy",
    "StationLog",
    "UntoldJobEnd",
    "Upstream",
]
