"""Certificate records: the one source of truth for each certificate and its lifecycle state (FR-001, FR-002)."""

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import Q
from django_fsm import FSMField, transition

from bfcerts.protected_state import ProtectedState
from inventory.audit import history
from inventory.choices import (
    KEPT_CHOICES,
    STATES_WITH_CERTIFICATE,
    OperatingMode,
    RecordState,
    RevocationReason,
    SourceOfTruth,
)
from inventory.purposes import PURPOSE_CHOICES, Purpose, purpose

S = RecordState


class CertificateRecordQuerySet(models.QuerySet["CertificateRecord"]):
    """Intent-named questions; time is a parameter."""

    def of(self, identity_id: int, purpose_key: str, slot: str = "") -> Self:
        return self.filter(identity_id=identity_id, purpose=purpose_key, slot=slot)

    def usable_at(self, now: datetime) -> Self:
        """Certificates that would open the door now: the identity's working credentials."""
        return self.filter(not_after__gt=now, not_before__lte=now).filter(
            Q(state__in=[S.ACTIVE, S.INSTALLED_PENDING_ACTIVATION]) | Q(state=S.RETIRED, rollback_until__gt=now)
        )

    def with_certificate(self) -> Self:
        return self.filter(state__in=STATES_WITH_CERTIFICATE)


class CertificateRecord(ProtectedState):
    """One certificate of one identity for one purpose.

    The state moves only by the transitions below, which only `inventory.services.lifecycle` calls, under a row lock;
    the field is protected, and a trigger holds the same transition table for everything that bypasses Python.
    """

    identity = models.ForeignKey(
        "inventory.ManagedIdentity", on_delete=models.PROTECT, related_name="certificate_records"
    )
    purpose = models.CharField(max_length=40, choices=PURPOSE_CHOICES)
    slot = models.CharField(max_length=120, blank=True)
    trust_domain = models.CharField(max_length=40)
    mode = models.CharField(max_length=15, choices=OperatingMode.choices)
    state = FSMField(choices=RecordState.choices, default=RecordState.REQUESTED, protected=True, max_length=30)
    native_status = models.CharField(max_length=40, blank=True, help_text="The platform's own word for its state.")
    registered_externally = models.BooleanField(default=False)
    replaces = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="replacements")
    authority = models.ForeignKey(
        "inventory.IssuingAuthority", null=True, blank=True, on_delete=models.PROTECT, related_name="records"
    )
    responsible_authority = models.CharField(
        max_length=200, blank=True, help_text="Who can revoke and renew it, where that is not us."
    )

    kept = models.CharField(
        "stored here",
        max_length=15,
        choices=KEPT_CHOICES,
        default=SourceOfTruth.WHOLE_CHAIN,
        db_default=SourceOfTruth.WHOLE_CHAIN.value,
        help_text="How much of it may be stored, by its ownership decision.",
    )

    csr_pem = models.TextField(blank=True)
    csr_sha256 = models.CharField(max_length=64, blank=True)
    public_key_sha256 = models.CharField(max_length=64, blank=True, db_index=True)
    key_algorithm = models.CharField(max_length=30, blank=True)

    serial_number = models.CharField(max_length=64, blank=True, help_text="Lower-case hex without leading zeros.")
    issuer = models.TextField(blank=True)
    issuer_sha256 = models.CharField(max_length=64, blank=True, help_text="SHA-256 of the issuer's DER name.")
    subject = models.TextField(blank=True)
    subject_alternative_names = models.JSONField(default=list, blank=True)
    fingerprint = models.CharField(max_length=64, blank=True, help_text="SHA-256, lower-case hex.")
    certificate_pem = models.TextField(blank=True)
    chain_pem = models.TextField(blank=True, help_text="From the issuing CA to its root.")
    not_before = models.DateTimeField(null=True, blank=True)
    not_after = models.DateTimeField(null=True, blank=True)

    activation_evidence = models.ForeignKey(
        "inventory.Evidence", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    requested_at = models.DateTimeField()
    issued_at = models.DateTimeField(null=True, blank=True)
    installed_at = models.DateTimeField(null=True, blank=True)
    activated_at = models.DateTimeField(null=True, blank=True)
    deactivated_at = models.DateTimeField(null=True, blank=True)
    retired_at = models.DateTimeField(null=True, blank=True)
    rollback_until = models.DateTimeField(
        null=True, blank=True, help_text="A retired certificate still opens the door until then."
    )
    renewal_only_until = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Until then it lets its charger in although it has expired, only to renew it: an operator opened a "
        "narrow door.",
    )
    confirm_by = models.DateTimeField(
        null=True, blank=True, help_text="An issued certificate never confirmed by then is revoked."
    )
    revoked_at = models.DateTimeField(null=True, blank=True, help_text="When it stopped opening our doors.")
    revocation_reason = models.CharField(max_length=30, choices=RevocationReason.choices, blank=True)
    revocation_propagated_at = models.DateTimeField(null=True, blank=True, help_text="When the CA confirmed it.")
    deleted_at = models.DateTimeField(null=True, blank=True)
    failure_reason = models.TextField(blank=True)
    escalated_at = models.DateTimeField(null=True, blank=True)
    incident_at = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    history = history(excluded_fields=["certificate_pem", "chain_pem", "csr_pem"])
    objects = CertificateRecordQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["identity", "purpose", "slot"],
                condition=Q(state="active"),
                name="one_active_per_slot",
            ),
            models.UniqueConstraint(
                fields=["issuer_sha256", "serial_number"],
                condition=~Q(serial_number=""),
                name="serial_once_per_issuer",
            ),
            models.UniqueConstraint(fields=["fingerprint"], condition=~Q(fingerprint=""), name="fingerprint_once"),
            models.CheckConstraint(
                condition=~Q(state="active") | Q(activation_evidence__isnull=False),
                name="active_needs_evidence",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["requested", "deleted"]) | ~Q(fingerprint=""),
                name="issued_has_fingerprint",
            ),
            models.CheckConstraint(
                condition=~Q(state="revoked") | Q(revoked_at__isnull=False), name="revoked_has_time"
            ),
            models.CheckConstraint(
                condition=Q(renewal_only_until__isnull=True)
                | Q(purpose="charger_identity", state__in=["active", "retired"], not_after__isnull=False),
                name="renewal_door_only_for_what_expired",
            ),
            models.CheckConstraint(
                condition=Q(kept="whole_chain") | Q(certificate_pem="", chain_pem="", csr_pem=""),
                name="lifecycle_only_keeps_no_pem",
            ),
            models.CheckConstraint(condition=~Q(trust_domain="firmware_signing"), name="no_firmware_signing"),
            models.CheckConstraint(condition=Q(trust_domain=models.F("purpose")), name="trust_domain_of_purpose"),
        ]
        indexes = [
            models.Index(fields=["identity", "purpose", "slot", "state"]),
            models.Index(fields=["not_after"], condition=Q(state="active"), name="active_by_expiry"),
            models.Index(fields=["not_after"], condition=Q(not_after__isnull=False), name="certificate_by_expiry"),
            models.Index(fields=["serial_number"], condition=~Q(serial_number=""), name="record_by_serial_number"),
            models.Index(fields=["slot", "-id"], condition=~Q(slot=""), name="record_by_slot"),
            models.Index(fields=["mode", "-id"], condition=~Q(mode="managed"), name="record_by_mode_not_ours"),
            models.Index(fields=["state", "-id"]),
            models.Index(fields=["purpose", "state", "-id"]),
            models.Index(
                fields=["confirm_by"],
                condition=Q(state__in=["issued", "installed_pending_activation"]),
                name="unconfirmed_by_date",
            ),
        ]
        permissions = [
            ("issue_certificaterecord", "Can issue certificates"),
            ("install_certificaterecord", "Can install certificates"),
            ("activate_certificaterecord", "Can activate certificates on evidence"),
            ("deactivate_certificaterecord", "Can deactivate certificates"),
            ("reactivate_certificaterecord", "Can reactivate certificates"),
            ("renew_certificaterecord", "Can renew certificates"),
            ("revoke_certificaterecord", "Can revoke certificates"),
            ("forcedelete_certificaterecord", "Can take an identity's last working credential"),
            ("register_certificaterecord", "Can register external certificates"),
        ]

    def __str__(self) -> str:
        return f"{self.get_purpose_display()} of {self.identity} ({self.get_state_display()})"

    @property
    def purpose_entry(self) -> Purpose:
        """The purpose's entry in the registry."""
        return purpose(self.purpose)

    @transition(field=state, source=S.REQUESTED, target=S.ISSUED)
    def issue(self) -> None:
        """The CA returned a chain that verified."""

    @transition(field=state, source=S.REQUESTED, target=S.DELETED)
    def fail(self) -> None:
        """The job ended before issuance."""

    @transition(field=state, source=S.ISSUED, target=S.INSTALLED_PENDING_ACTIVATION)
    def record_installation(self) -> None:
        """Evidence of install, delivery or acceptance."""

    @transition(field=state, source=S.INSTALLED_PENDING_ACTIVATION, target=S.ACTIVE)
    def activate(self) -> None:
        """The evidence that the purpose's rule asks for."""

    @transition(field=state, source=S.ACTIVE, target=S.INACTIVE)
    def deactivate(self) -> None:
        """Taken out of service on purpose, and can come back."""

    @transition(field=state, source=S.INACTIVE, target=S.INSTALLED_PENDING_ACTIVATION)
    def reactivate(self) -> None:
        """Back to waiting for fresh evidence."""

    @transition(field=state, source=[S.ACTIVE, S.INACTIVE, S.INSTALLED_PENDING_ACTIVATION], target=S.RETIRED)
    def retire(self) -> None:
        """Superseded or expired."""

    @transition(
        field=state,
        source=[S.ISSUED, S.INSTALLED_PENDING_ACTIVATION, S.ACTIVE, S.INACTIVE, S.RETIRED],
        target=S.REVOKED,
    )
    def revoke(self) -> None:
        """Blocked for good."""

    @transition(field=state, source=[S.REQUESTED, S.INACTIVE, S.RETIRED, S.REVOKED], target=S.DELETED)
    def delete_record(self) -> None:
        """Out of the living inventory; the row stays for the audit."""
