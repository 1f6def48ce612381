"""Provisioning cases: one effort to bring a Plug and Charge or vehicle certificate into use, and what it rests on."""

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import Q
from django_fsm import FSMField, transition

from bfcerts.protected_state import ProtectedState
from inventory.audit import history
from inventory.choices import OperatingMode
from inventory.purposes import PURPOSE_CHOICES, Purpose, purpose
from provisioning.choices import MOVING, OPEN, CaseState, ExternalSystem, PathKey

S = CaseState
_OPEN = Q(state__in=["prerequisite", "delivery", "pending_activation", "failed", "blocked"])
_MOVING = Q(state__in=["prerequisite", "delivery", "pending_activation"])


class ProvisioningCaseQuerySet(models.QuerySet["ProvisioningCase"]):
    """Intent-named questions; time is a parameter."""

    def open(self) -> Self:
        return self.filter(state__in=OPEN, superseded_at__isnull=True)

    def of(self, identity_id: int, purpose_key: str, slot: str = "") -> Self:
        return self.filter(identity_id=identity_id, purpose=purpose_key, slot=slot)

    def past_deadline(self, now: datetime) -> Self:
        return self.filter(deadline__lte=now, state__in=MOVING)


class ProvisioningCase(ProtectedState):
    """One provisioning effort for one identity, purpose and slot (FR-007, FR-008).

    Its state moves only by `provisioning.services.lifecycle`, under the identity's lock and its own.
    """

    identity = models.ForeignKey(
        "inventory.ManagedIdentity", on_delete=models.PROTECT, related_name="provisioning_cases"
    )
    purpose = models.CharField(max_length=40, choices=PURPOSE_CHOICES)
    slot = models.CharField(max_length=120, blank=True, help_text="The EMAID, of a contract.")
    mode = models.CharField("operating mode", max_length=15, choices=OperatingMode.choices)
    path = models.CharField(max_length=10, choices=PathKey.choices)
    program = models.CharField(max_length=60, blank=True, help_text="As the identity's was when the case began.")
    state = FSMField(choices=CaseState.choices, default=S.PREREQUISITE, protected=True, max_length=20)
    why = models.TextField(blank=True, help_text="Why it is not active, in a sentence.")
    deadline = models.DateTimeField(null=True, blank=True, help_text="What is not done by then has failed.")
    next_look_at = models.DateTimeField(help_text="When its prerequisites and evidence are judged again.")
    tries_left = models.PositiveSmallIntegerField(default=3, help_text="How often it may still be tried anew.")
    record = models.ForeignKey(
        "inventory.CertificateRecord",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="provisioning_cases",
    )
    job = models.ForeignKey(
        "inventory.CertificateJob", null=True, blank=True, on_delete=models.PROTECT, related_name="provisioning_cases"
    )
    activation_evidence = models.ForeignKey(
        "provisioning.ProvisioningEvidence", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    evidence_from = models.DateTimeField(
        null=True, blank=True, help_text="What was observed before says nothing about this try."
    )
    responsible_authority = models.CharField(max_length=200, blank=True, help_text="Who can revoke and renew it.")
    authority_contact = models.CharField(max_length=300, blank=True)

    pcid = models.CharField("PCID", max_length=40, blank=True, help_text="Provisioning certificate id of the vehicle.")
    emaid = models.CharField("EMAID", max_length=40, blank=True, help_text="As read from the certificate.")
    serial_number = models.CharField(max_length=64, blank=True, help_text="As read; lower-case hex.")
    fingerprint = models.CharField(max_length=64, blank=True, help_text="As read; SHA-256, lower-case hex.")
    not_after = models.DateTimeField(null=True, blank=True, help_text="As read from the certificate.")

    blocked_by = models.CharField(
        max_length=200, blank=True, help_text="Whose word blocks it, and who has to be asked."
    )
    blocked_at = models.DateTimeField(null=True, blank=True, help_text="When that authority says it ended.")
    last_failure = models.TextField(blank=True)
    superseded_at = models.DateTimeField(null=True, blank=True, help_text="Another case has taken its place since.")
    decided_by = models.CharField(max_length=150, blank=True, help_text="Who cancelled, retried or unblocked it.")
    correlation_id = models.CharField(max_length=64, db_index=True)
    opened_at = models.DateTimeField()
    entered_state_at = models.DateTimeField()

    history = history(excluded_fields=["next_look_at"])
    objects = ProvisioningCaseQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["identity", "purpose", "slot"],
                condition=_OPEN & Q(superseded_at__isnull=True),
                name="one_open_provisioning_case",
            ),
            models.UniqueConstraint(
                fields=["identity", "purpose", "slot"],
                condition=Q(state="active", superseded_at__isnull=True),
                name="one_active_provisioning_case",
            ),
            models.CheckConstraint(condition=Q(state="active") | ~Q(why=""), name="provisioning_says_why"),
            models.CheckConstraint(
                condition=~_MOVING | Q(deadline__isnull=False), name="moving_provisioning_has_deadline"
            ),
            models.CheckConstraint(
                condition=~Q(state="active") | Q(activation_evidence__isnull=False),
                name="active_provisioning_has_evidence",
            ),
            models.CheckConstraint(
                condition=~Q(state="blocked") | (~Q(blocked_by="") & Q(blocked_at__isnull=False)),
                name="blocked_provisioning_names_whom",
            ),
        ]
        indexes = [
            models.Index(fields=["identity", "-id"]),
            models.Index(fields=["state", "-id"]),
            models.Index(fields=["purpose", "-id"]),
            models.Index(fields=["path", "state", "id"]),
            models.Index(fields=["next_look_at", "id"], condition=_MOVING, name="provisioning_to_look_at"),
            models.Index(fields=["deadline", "id"], condition=_MOVING, name="provisioning_by_deadline"),
            models.Index(fields=["fingerprint"], condition=~Q(fingerprint=""), name="provisioning_by_fingerprint"),
            models.Index(fields=["pcid"], condition=~Q(pcid=""), name="provisioning_by_pcid"),
        ]
        permissions = [
            ("start_provisioningcase", "Can start provisioning cases"),
            ("confirm_provisioningcase", "Can confirm prerequisites of provisioning cases"),
            ("deliver_provisioningcase", "Can bring provisioning cases to delivery"),
            ("retry_provisioningcase", "Can retry provisioning cases"),
            ("block_provisioningcase", "Can block provisioning cases"),
            ("unblock_provisioningcase", "Can unblock provisioning cases"),
            ("cancel_provisioningcase", "Can cancel provisioning cases"),
        ]

    def __str__(self) -> str:
        return f"{self.get_purpose_display()} for {self.identity} ({self.get_state_display()})"

    @property
    def purpose_entry(self) -> Purpose:
        """The purpose's entry in the registry."""
        return purpose(self.purpose)

    @property
    def is_open(self) -> bool:
        return self.state in OPEN and self.superseded_at is None

    @transition(field=state, source=S.PREREQUISITE, target=S.DELIVERY)
    def deliver(self) -> None:
        """Every prerequisite of the path is met."""

    @transition(field=state, source=S.DELIVERY, target=S.PENDING_ACTIVATION)
    def await_activation(self) -> None:
        """Delivered, installed or accepted, with evidence."""

    @transition(field=state, source=S.PENDING_ACTIVATION, target=S.ACTIVE)
    def activate(self) -> None:
        """Authoritative evidence that it is usable."""

    @transition(field=state, source=[S.PREREQUISITE, S.DELIVERY, S.PENDING_ACTIVATION], target=S.FAILED)
    def fail(self) -> None:
        """Refused, or past its deadline."""

    @transition(field=state, source=S.FAILED, target=S.PREREQUISITE)
    def retry(self) -> None:
        """Tried anew."""

    @transition(
        field=state,
        source=[S.PREREQUISITE, S.DELIVERY, S.PENDING_ACTIVATION, S.FAILED, S.ACTIVE],
        target=S.BLOCKED,
    )
    def block(self) -> None:
        """External revocation or suspension."""

    @transition(field=state, source=S.BLOCKED, target=S.PREREQUISITE)
    def unblock(self) -> None:
        """Fresh evidence says that it is usable again; it goes the whole way once more."""

    @transition(
        field=state,
        source=[S.PREREQUISITE, S.DELIVERY, S.PENDING_ACTIVATION, S.FAILED, S.BLOCKED],
        target=S.CANCELLED,
    )
    def cancel(self) -> None:
        """An operator ends it."""


class Prerequisite(models.Model):
    """What a path asks for before delivery, and how that was last judged for a case."""

    case = models.ForeignKey(ProvisioningCase, on_delete=models.PROTECT, related_name="prerequisites")
    key = models.CharField(max_length=40, help_text="Of the registry of paths.")
    met = models.BooleanField()
    why = models.TextField(help_text="What was found, in a sentence.")
    judged_at = models.DateTimeField()
    confirmed_by = models.CharField(max_length=150, blank=True, help_text="The person who confirmed it.")
    confirmed_at = models.DateTimeField(null=True, blank=True)

    history = history()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["case", "key"], name="prerequisite_once_per_case"),
            models.CheckConstraint(
                condition=Q(confirmed_by="", confirmed_at__isnull=True)
                | (~Q(confirmed_by="") & Q(confirmed_at__isnull=False)),
                name="confirmation_has_person_and_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key} of case {self.case_id}"


class ExternalReference(models.Model):
    """The name that an external system has for something of a case; written once, never changed."""

    case = models.ForeignKey(ProvisioningCase, on_delete=models.PROTECT, related_name="references")
    system = models.CharField(max_length=15, choices=ExternalSystem.choices)
    kind = models.CharField(max_length=40, help_text="What it names, as “contract” or “enrolment”.")
    value = models.CharField(max_length=300)
    trace_id = models.CharField(max_length=120, blank=True, help_text="Of the exchange in which it was given.")
    first_seen_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["case", "system", "kind", "value"], name="external_reference_once"),
        ]
        indexes = [models.Index(fields=["value"], name="external_reference_by_value")]

    def __str__(self) -> str:
        return f"{self.kind} {self.value} ({self.get_system_display()})"
