"""Certificates: who holds them, how they are run, their states, and what shows a state."""

from datetime import timedelta

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


class SourceOfTruth(models.TextChoices):
    """How much of a certificate is stored here, by its ownership decision."""

    WHOLE_CHAIN = "whole_chain", "The whole certificate and its chain"
    LIFECYCLE_ONLY = "lifecycle_only", "Its lifecycle, without the certificate itself"
    EVIDENCE_ONLY = "evidence_only", "Evidence only, no record of the certificate"


KEPT_CHOICES = [choice for choice in SourceOfTruth.choices if choice[0] != SourceOfTruth.EVIDENCE_ONLY.value]
"""What a record can be: where only evidence is kept, there is none."""


class KeyOwner(models.TextChoices):
    """Who makes and keeps the private keys of a purpose."""

    ENDPOINT = "endpoint", "The endpoint itself"
    EXTERNAL = "external", "Another party, as an OEM or a scheme"


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


EVIDENCE_FRESH_FOR: dict[str, timedelta] = {
    EvidenceKind.EXTERNAL_CONFIRMATION: timedelta(days=1),
    EvidenceKind.VAS_TRANSACTION: timedelta(days=1),
}
"""How long what others said may bring a certificate into use; an older word says nothing about today."""


class RevocationReason(models.TextChoices):
    """RFC 5280 §5.3.1, as far as an operator may choose them."""

    UNSPECIFIED = "unspecified", "Unspecified"
    KEY_COMPROMISE = "keyCompromise", "Key compromised"
    CA_COMPROMISE = "cACompromise", "CA compromised"
    AFFILIATION_CHANGED = "affiliationChanged", "Affiliation changed"
    SUPERSEDED = "superseded", "Superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation", "Taken out of operation"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn", "Privilege withdrawn"
