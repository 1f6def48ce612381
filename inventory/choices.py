"""The closed sets of the inventory: each value with its label, colour and grouping, stated once.

Admin badges, filters, API values and the sets that services ask for (`OPEN`, `USABLE`, …) all come from here.
"""

from django.db import models


class SubjectKind(models.TextChoices):
    """What a managed identity is."""

    CHARGER = "charger", "Charger"
    EVSE = "evse", "EVSE"
    VEHICLE = "vehicle", "Vehicle"
    SERVICE_ENDPOINT = "service_endpoint", "Service endpoint"
    IOT_HUB_DEVICE = "iot_hub_device", "IoT hub device"


class OperatingMode(models.TextChoices):
    """Who leads a certificate's life (FR-005)."""

    MANAGED = "managed", "Managed by us"
    BROKERED = "brokered", "Brokered by us"
    TRACKED_ONLY = "tracked_only", "Tracked only"


class RecordState(models.TextChoices):
    """The canonical lifecycle of a certificate (FR-002)."""

    REQUESTED = "requested", "Requested"
    ISSUED = "issued", "Issued"
    INSTALLED_PENDING_ACTIVATION = "installed_pending_activation", "Installed, not yet seen in use"
    ACTIVE = "active", "Active"
    INACTIVE = "inactive", "Inactive"
    RETIRED = "retired", "Retired"
    REVOKED = "revoked", "Revoked"
    DELETED = "deleted", "Deleted"


RECORD_TRANSITIONS: dict[str, frozenset[str]] = {
    RecordState.REQUESTED: frozenset({RecordState.ISSUED, RecordState.DELETED}),
    RecordState.ISSUED: frozenset({RecordState.INSTALLED_PENDING_ACTIVATION, RecordState.REVOKED}),
    RecordState.INSTALLED_PENDING_ACTIVATION: frozenset({RecordState.ACTIVE, RecordState.RETIRED, RecordState.REVOKED}),
    RecordState.ACTIVE: frozenset({RecordState.INACTIVE, RecordState.RETIRED, RecordState.REVOKED}),
    RecordState.INACTIVE: frozenset(
        {
            RecordState.INSTALLED_PENDING_ACTIVATION,
            RecordState.RETIRED,
            RecordState.REVOKED,
            RecordState.DELETED,
        }
    ),
    RecordState.RETIRED: frozenset({RecordState.REVOKED, RecordState.DELETED}),
    RecordState.REVOKED: frozenset({RecordState.DELETED}),
    RecordState.DELETED: frozenset(),
}
"""The transition table of domain.md; the database's trigger is built from the same."""

RECORD_COLOURS: dict[str, str] = {
    RecordState.REQUESTED: "info",
    RecordState.ISSUED: "info",
    RecordState.INSTALLED_PENDING_ACTIVATION: "warning",
    RecordState.ACTIVE: "success",
    RecordState.INACTIVE: "default",
    RecordState.RETIRED: "default",
    RecordState.REVOKED: "danger",
    RecordState.DELETED: "default",
}
STATES_WITH_CERTIFICATE = tuple(
    state for state in RecordState.values if state not in (RecordState.REQUESTED, RecordState.DELETED)
)
REVOCABLE_STATES = (
    RecordState.ISSUED,
    RecordState.INSTALLED_PENDING_ACTIVATION,
    RecordState.ACTIVE,
    RecordState.INACTIVE,
    RecordState.RETIRED,
)


class JobAction(models.TextChoices):
    """What a certificate job does."""

    ISSUE = "issue", "Issue"
    RENEW = "renew", "Renew"
    INSTALL = "install", "Install"
    REVOKE = "revoke", "Revoke at the CA"
    DELETE = "delete", "Delete from the device"
    CUT_OVER = "cut_over", "Cut over to Profile 3"
    COMMAND = "command", "Station command"


ISSUING_ACTIONS = (JobAction.ISSUE, JobAction.RENEW)


class JobState(models.TextChoices):
    """The life of a job; `waiting` always names what it waits for and until when."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    WAITING = "waiting", "Waiting"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


JOB_OPEN_STATES = (JobState.QUEUED, JobState.RUNNING, JobState.WAITING)
JOB_COLOURS: dict[str, str] = {
    JobState.QUEUED: "info",
    JobState.RUNNING: "info",
    JobState.WAITING: "warning",
    JobState.SUCCEEDED: "success",
    JobState.FAILED: "danger",
    JobState.CANCELLED: "default",
}


class JobQueue(models.TextChoices):
    """Which worker may run a job's present step."""

    GENERAL = "general", "General worker"
    PKI = "pki", "PKI worker"


class EvidenceKind(models.TextChoices):
    """An observed fact that can move a record."""

    INSTALL_ACKNOWLEDGED = "install_acknowledged", "Install acknowledged"
    MTLS_CONNECTION = "mtls_connection", "Mutual-TLS connection with this certificate"
    DELIVERY_ACKNOWLEDGED = "delivery_acknowledged", "Delivery acknowledged"
    EXTERNAL_CONFIRMATION = "external_confirmation", "External confirmation"
    VAS_TRANSACTION = "vas_transaction", "Authenticated vehicle-to-backend transaction"
    EVSE_ACCEPTANCE = "evse_acceptance", "Accepted by the EVSE"
    LISTENER_PRESENTS = "listener_presents", "Presented by our listener"
    PLATFORM_STATUS = "platform_status", "Status reported by the platform"
    INSTALL_REFUSED = "install_refused", "Install refused"
    FALLBACK_CONNECTION = "fallback_connection", "Connection with a retired certificate"
    OPERATOR_STATEMENT = "operator_statement", "Statement by an operator"


STATEABLE_EVIDENCE: frozenset[str] = frozenset(
    {
        EvidenceKind.INSTALL_ACKNOWLEDGED,
        EvidenceKind.DELIVERY_ACKNOWLEDGED,
        EvidenceKind.EXTERNAL_CONFIRMATION,
        EvidenceKind.EVSE_ACCEPTANCE,
        EvidenceKind.PLATFORM_STATUS,
        EvidenceKind.OPERATOR_STATEMENT,
    }
)
"""What a person or a partner may state, because it happens out of our sight.

The other kinds are facts only as our own doors, listeners and gateways saw them, and are stored by those alone.
"""


class SubjectRule(models.TextChoices):
    """What a charger family puts into the common name of its requests; compared exactly."""

    EITHER = "either", "Charge point id or serial number"
    STATION_ID = "station_id", "Charge point id"
    SERIAL_NUMBER = "serial_number", "Serial number"


class ChainContent(models.TextChoices):
    """What a charger family wants in CertificateSigned."""

    LEAF_AND_INTERMEDIATES = "leaf_and_intermediates", "Leaf and intermediates"
    LEAF_TO_ROOT = "leaf_to_root", "Leaf, intermediates and root"


class RevocationReason(models.TextChoices):
    """RFC 5280 §5.3.1, as far as an operator may choose them."""

    UNSPECIFIED = "unspecified", "Unspecified"
    KEY_COMPROMISE = "keyCompromise", "Key compromised"
    CA_COMPROMISE = "cACompromise", "CA compromised"
    AFFILIATION_CHANGED = "affiliationChanged", "Affiliation changed"
    SUPERSEDED = "superseded", "Superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation", "Taken out of operation"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn", "Privilege withdrawn"


class SecurityCategory(models.TextChoices):
    """The five retained event categories of the specification, and one for what fits none."""

    AUTHENTICATION = "authentication", "Authentication failure"
    TLS_AND_CERTIFICATE = "tls_and_certificate", "TLS and certificate failure"
    INSTALLATION = "installation", "Installation failure"
    SECURITY_LOG = "security_log", "Security log integrity"
    PLATFORM = "platform", "Platform integrity"
    OTHER = "other", "Other"


class Severity(models.TextChoices):
    """How soon somebody should look."""

    INFO = "info", "Info"
    WARNING = "warning", "Warning"
    CRITICAL = "critical", "Critical"


SEVERITY_COLOURS: dict[str, str] = {
    Severity.INFO: "default",
    Severity.WARNING: "warning",
    Severity.CRITICAL: "danger",
}


class SecuritySource(models.TextChoices):
    """Where a security event was seen."""

    CHARGER = "charger", "Charger"
    TLS_ENDPOINT = "tls_endpoint", "TLS endpoint"
    CERTIFICATE_AUTHORITY = "certificate_authority", "Certificate authority"
    BROKER = "broker", "Broker"
    OPERATOR = "operator", "Operator"
    CONTROL_PLANE = "control_plane", "Control plane"


class CohortKind(models.TextChoices):
    """How a cohort knows its members."""

    STATIC = "static", "A list of identities"
    FILTER = "filter", "Whatever matches a filter"


class EventType(models.TextChoices):
    """Every domain event: what became of an identity, a certificate, a key or a trust anchor."""

    CERTIFICATE_REQUESTED = "CertificateRequested"
    CSR_VALIDATED = "CSRValidated"
    CSR_REJECTED = "CSRRejected"
    CERTIFICATE_ISSUED = "CertificateIssued"
    CERTIFICATE_INSTALL_REQUESTED = "CertificateInstallRequested"
    CERTIFICATE_INSTALLED = "CertificateInstalled"
    INSTALL_FAILED = "InstallFailed"
    CERTIFICATE_ACTIVATED = "CertificateActivated"
    ACTIVATION_FAILED = "ActivationFailed"
    CERTIFICATE_DEACTIVATED = "CertificateDeactivated"
    CERTIFICATE_REACTIVATED = "CertificateReactivated"
    CERTIFICATE_RENEWAL_STARTED = "CertificateRenewalStarted"
    CERTIFICATE_RETIRED = "CertificateRetired"
    CERTIFICATE_REVOKED = "CertificateRevoked"
    REVOCATION_PROPAGATED = "RevocationPropagated"
    CERTIFICATE_DELETED = "CertificateDeleted"
    TRUST_ANCHOR_RELEASE_REQUESTED = "TrustAnchorReleaseRequested"
    TRUST_ANCHOR_INSTALLED = "TrustAnchorInstalled"
    TRUST_ANCHOR_MISMATCH_DETECTED = "TrustAnchorMismatchDetected"
    TRUST_ANCHOR_WITHDRAWN = "TrustAnchorWithdrawn"
    MIGRATION_STATE_CHANGED = "MigrationStateChanged"
    MIGRATION_QUARANTINED = "MigrationQuarantined"
    PROVISIONING_STATE_CHANGED = "ProvisioningStateChanged"
    PROVISIONING_EVIDENCE_RECORDED = "ProvisioningEvidenceRecorded"
    ESCALATION_RAISED = "EscalationRaised"
    INCIDENT_RAISED = "IncidentRaised"
    AUTHORIZATION_KEY_GENERATED = "AuthorizationKeyGenerated"
    AUTHORIZATION_KEY_DELIVERED = "AuthorizationKeyDelivered"
    AUTHORIZATION_KEY_ACTIVATED = "AuthorizationKeyActivated"
    AUTHORIZATION_KEY_FAILED = "AuthorizationKeyFailed"
    AUTHORIZATION_KEY_RETIRED = "AuthorizationKeyRetired"
    AUTHORIZATION_KEY_REVOKED = "AuthorizationKeyRevoked"
    IDENTITY_ADDED = "IdentityAdded"
    IDENTITY_CHANGED = "IdentityChanged"
    IDENTITY_ENABLED = "IdentityEnabled"
    IDENTITY_DISABLED = "IdentityDisabled"
    LOCK_OUT_FORECAST_OVERRIDDEN = "LockOutForecastOverridden"


class JobStep(models.TextChoices):
    """Every step of a job, in the words of whoever waits for it."""

    REQUEST_CSR = "request_csr", "Ask the endpoint for a certificate signing request"
    AWAIT_TRIGGER = "await_trigger", "The station takes the request for a CSR"
    AWAIT_CSR = "await_csr", "The endpoint sends its certificate signing request"
    ISSUE = "issue", "The CA issues the certificate"
    NEWER_CSR = "newer_csr", "Take up the newer certificate signing request"
    DELIVER = "deliver", "Send the certificate to the endpoint"
    AWAIT_INSTALL = "await_install", "The endpoint installs the certificate"
    AWAIT_ACTIVATION = "await_activation", "The endpoint connects with the certificate"
    AWAIT_DOUBTFUL = "await_doubtful", "The endpoint connects with the certificate that it may have"
    REVOKE_AT_AUTHORITY = "revoke_at_authority", "Tell the CA of the revocation"
    SEND_NETWORK_PROFILE = "send_network_profile", "Send the network profile to the station"
    SEND_PRIORITY = "send_priority", "Tell the station to use the new network profile first"
    SEND_SECURITY_PROFILE = "send_security_profile", "Tell the station its new security profile"
    SEND_RESET = "send_reset", "Restart the station"
    CUT_OVER_UNANSWERED = "cut_over_unanswered", "The station comes back on Profile 3"


class SystemPart(models.TextChoices):
    """The parts of the system that act without a person: what stands behind “system:” in the audit trail."""

    WEB = "web", "Console or API"
    GATEWAY = "gateway", "Gateway"
    PKI_WORKER = "pki-worker", "PKI worker"
    RENEWAL = "renewal", "Automatic renewal"
    EXPIRY = "expiry", "Expiry check"
    LIFECYCLE = "lifecycle", "Lifecycle check"
    PLANNER = "planner", "Plans"
    TRUST_ANCHORS = "trust-anchors", "Trust anchor releases"
    MIGRATION = "migration", "Migration to Profile 3"
    KEY_ROTATION = "key-rotation", "AuthorizationKey rotation"
    RECOVERY = "recovery", "Narrow doors"
    STATION_LOGS = "station-logs", "Station logs"
    ARTIFACTS = "artifacts", "Artifact store"
    DEMO = "demo", "Demo"
    FIRST_LOOK = "first-look", "First look (simulated fleet)"


class Capability(models.TextChoices):
    """What a charger family can do, as the specification's readiness appendix lists it for firmware, and what else
    we ask of stations."""

    DUAL_KEY_SLOTS = "dual_key_slots", "Two AuthorizationKey slots"
    SECURITY_LOG_STORE = "security_log_store", "Keeps a security log"
    SECURITY_EVENT_NOTIFICATION = "security_event_notification", "SecurityEventNotification"
    GET_LOG = "get_log", "GetLog and LogStatusNotification"
    INSTALL_CERTIFICATE = "install_certificate", "InstallCertificate"
    SIGN_CERTIFICATE = "sign_certificate", "SignCertificate"
    CERTIFICATE_SIGNED = "certificate_signed", "CertificateSigned"
    LOCAL_KEY_AND_CSR = "local_key_and_csr", "Makes its key and its request itself"
    ACTIVATION_AND_ROLLBACK = "activation_and_rollback", "Activates a certificate, and goes back if that fails"
    PROFILE_3 = "profile_3", "Connects by mutual TLS (Profile 3)"
    LIST_CERTIFICATES = "list_certificates", "GetInstalledCertificateIds"
    DELETE_CERTIFICATE = "delete_certificate", "DeleteCertificate"
    KEEPS_SEVERAL_ROOTS = "keeps_several_roots", "Goes on trusting the CSMS roots that it has when it gets another"


MANDATORY_FOR_PROFILE_3: tuple[Capability, ...] = (
    Capability.DUAL_KEY_SLOTS,
    Capability.SECURITY_LOG_STORE,
    Capability.SECURITY_EVENT_NOTIFICATION,
    Capability.GET_LOG,
    Capability.INSTALL_CERTIFICATE,
    Capability.SIGN_CERTIFICATE,
    Capability.CERTIFICATE_SIGNED,
    Capability.LOCAL_KEY_AND_CSR,
    Capability.ACTIVATION_AND_ROLLBACK,
    Capability.PROFILE_3,
)
"""The readiness appendix's firmware workstream, and the mutual-TLS reconnect of its milestone M3. An approved key path
stands in for the second key slot."""


class CapabilityBasis(models.TextChoices):
    """How we know of a capability."""

    DECLARED = "declared", "Declared"
    OBSERVED = "observed", "Observed"


class ProtocolVariant(models.TextChoices):
    """What a charger family says differently from the standard of its OCPP version, and who translates it.

    The values are the keys of `bfcerts.ocpp.adapters.VARIANTS`.
    """

    STANDARD = "", "As the standard says"
    OCPP16_LEGACY_TRIGGER = "ocpp1.6-legacy-trigger", "OCPP 1.6 without ExtendedTriggerMessage"


class KeyForm(models.TextChoices):
    """How a family takes a new AuthorizationKey."""

    LITERAL = "literal", "The characters themselves"
    HEXADECIMAL = "hex", "Hexadecimal"


class KeyPath(models.TextChoices):
    """How an AuthorizationKey of a family may be changed without locking anybody out."""

    UNAPPROVED = "unapproved", "Not approved"
    VENDOR_SECOND_SLOT = "vendor_second_slot", "The vendor's own second slot"
    TWO_SLOTS_AT_OUR_DOOR = "two_slots_at_our_door", "One slot on the station, two at our door"


class PlanState(models.TextChoices):
    """The life of a plan. Only a planned one can be applied; one that is refused then is planned again."""

    PREPARING = "preparing", "Being prepared"
    PLANNED = "planned", "Planned"
    APPLYING = "applying", "Being applied"
    APPLIED = "applied", "Applied"
    EXPIRED = "expired", "Expired"
    CANCELLED = "cancelled", "Cancelled"
    LAPSED = "lapsed", "Lapsed"


PLAN_TRANSITIONS: dict[str, frozenset[str]] = {
    PlanState.PREPARING: frozenset({PlanState.PLANNED, PlanState.EXPIRED, PlanState.CANCELLED}),
    PlanState.PLANNED: frozenset({PlanState.APPLYING, PlanState.EXPIRED, PlanState.CANCELLED}),
    PlanState.APPLYING: frozenset({PlanState.APPLIED, PlanState.PLANNED, PlanState.EXPIRED, PlanState.CANCELLED}),
    PlanState.APPLIED: frozenset(),
    PlanState.EXPIRED: frozenset({PlanState.LAPSED}),
    PlanState.CANCELLED: frozenset({PlanState.LAPSED}),
    PlanState.LAPSED: frozenset(),
}
"""The database's trigger is built from the same."""

OPEN_PLAN_STATES = (PlanState.PREPARING, PlanState.PLANNED, PlanState.APPLYING)
"""Nothing has been done yet, and may still be."""

PLAN_COLOURS: dict[str, str] = {
    PlanState.PREPARING: "info",
    PlanState.PLANNED: "warning",
    PlanState.APPLYING: "info",
    PlanState.APPLIED: "success",
    PlanState.EXPIRED: "default",
    PlanState.CANCELLED: "default",
    PlanState.LAPSED: "default",
}


class PlanRun(models.TextChoices):
    """How the work of an applied plan stands, for the kinds that run from their plan."""

    NONE = "", "Not run from the plan"
    RUNNING = "running", "Running"
    PAUSED = "paused", "Paused"
    STOPPED = "stopped", "Stopped"
    FINISHED = "finished", "Finished"


class TargetOutcome(models.TextChoices):
    """How one target of an applied plan stands."""

    NONE = "", "Not run from the plan"
    WAITING = "waiting", "Waiting"
    STARTED = "started", "Started"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    SKIPPED = "skipped", "Skipped"


TARGET_COLOURS: dict[str, str] = {
    TargetOutcome.NONE: "default",
    TargetOutcome.WAITING: "info",
    TargetOutcome.STARTED: "warning",
    TargetOutcome.DONE: "success",
    TargetOutcome.FAILED: "danger",
    TargetOutcome.SKIPPED: "default",
}


class ArtifactKind(models.TextChoices):
    """What is kept in the artifact store."""

    SECURITY_LOG = "security_log", "Security log"
    BUNDLE = "bundle", "Released trust-anchor bundle"
    CHAIN = "chain", "Issued chain"


class StationLogState(models.TextChoices):
    """The way of a log from the request to the artifact."""

    REQUESTED = "requested", "Asked for"
    ACCEPTED = "accepted", "The station agreed"
    UPLOADING = "uploading", "Uploading"
    UPLOADED = "uploaded", "Kept"
    FAILED = "failed", "Failed"


LOG_OPEN_STATES = (StationLogState.REQUESTED, StationLogState.ACCEPTED, StationLogState.UPLOADING)
LOG_COLOURS: dict[str, str] = {
    StationLogState.REQUESTED: "info",
    StationLogState.ACCEPTED: "info",
    StationLogState.UPLOADING: "info",
    StationLogState.UPLOADED: "success",
    StationLogState.FAILED: "danger",
}
