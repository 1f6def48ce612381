"""Events: of the domain, of security, and of the parts that act by themselves."""

from django.db import models


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
    PROVISIONING = "provisioning", "Provisioning"
    KEY_ROTATION = "key-rotation", "AuthorizationKey rotation"
    RECOVERY = "recovery", "Narrow doors"
    STATION_LOGS = "station-logs", "Station logs"
    ARTIFACTS = "artifacts", "Artifact store"
    POOLS = "pools", "Plug and Charge pools"
    DEMO = "demo", "Demo"
    FIRST_LOOK = "first-look", "First look (simulated fleet)"
