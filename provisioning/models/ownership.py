"""Ownership decisions: who does what for a purpose in a program, in the eleven fields of the specification."""

from django.db import models
from django.db.models import Q

from inventory.audit import history
from inventory.choices import KeyOwner, SourceOfTruth
from inventory.purposes import PURPOSE_CHOICES, Purpose, purpose
from provisioning.choices import MODE_OF_ROLE, OurRole, PathKey, Variability

REQUIRED = (
    "standards_source",
    "business_owner",
    "issuer",
    "private_key_owner",
    "delivery_path",
    "our_role",
    "source_of_truth",
    "revocation_authority",
    "support_owner",
    "variability",
)
"""What has to be decided beside the purpose itself, which is the first of the eleven."""


def label_of(name: str) -> str:
    """What a field of a decision is called."""
    labels = {field.name: str(field.verbose_name) for field in OwnershipDecision._meta.concrete_fields}
    return labels[name]


class OwnershipDecision(models.Model):
    """The decision matrix of one purpose in one program, as far as it has been decided (FR-007, FR-008).

    Its role decides the operating mode, its key owner and its source of truth what is stored.
    """

    purpose = models.CharField("certificate purpose", max_length=40, choices=PURPOSE_CHOICES)
    program = models.CharField(
        max_length=60, blank=True, help_text="Empty: for every program that has no decision of its own."
    )
    standards_source = models.CharField(
        max_length=200, blank=True, help_text="Which rules govern it: OCPP, ISO 15118, VDV 261, OCPI, OEM, scheme."
    )
    business_owner = models.CharField(
        max_length=200, blank=True, help_text="Who is accountable for availability, compliance and support."
    )
    issuer = models.CharField(
        "issuer or approval authority", max_length=200, blank=True, help_text="Who issues, or approves that we do."
    )
    private_key_owner = models.CharField(
        max_length=10, choices=KeyOwner.choices, blank=True, help_text="Who makes and keeps the private keys."
    )
    delivery_path = models.CharField(
        max_length=10, choices=PathKey.choices, blank=True, help_text="By which way it is provisioned."
    )
    our_role = models.CharField(max_length=12, choices=OurRole.choices, blank=True)
    source_of_truth = models.CharField(
        "source-of-truth level",
        max_length=15,
        choices=SourceOfTruth.choices,
        blank=True,
        help_text="How much of a certificate is stored here.",
    )
    revocation_authority = models.CharField(
        "revocation and renewal authority", max_length=200, blank=True, help_text="Who can revoke, renew and suspend."
    )
    support_owner = models.CharField(
        max_length=200, blank=True, help_text="Who helps when provisioning, validation or activation fails."
    )
    variability = models.CharField(
        "program variability",
        max_length=10,
        choices=Variability.choices,
        blank=True,
        help_text="Whether this is the same everywhere.",
    )
    authority_contact = models.CharField(
        max_length=300, blank=True, help_text="Where the revocation and renewal authority is reached, day and night."
    )
    support_contact = models.CharField(max_length=300, blank=True, help_text="Where the support owner is reached.")
    note = models.TextField(blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    history = history()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["purpose", "program"], name="one_decision_per_purpose_and_program"),
            models.CheckConstraint(
                condition=~Q(our_role="issuer") | Q(source_of_truth__in=["", "whole_chain"]),
                name="issuer_keeps_whole_chain",
                violation_error_message="Whoever issues keeps the whole certificate and its chain.",
            ),
            models.CheckConstraint(
                condition=~Q(our_role="issuer") | Q(private_key_owner__in=["", "endpoint"]),
                name="issuer_signs_requests",
                violation_error_message="We issue to requests only, so the endpoint has to own the private key.",
            ),
            models.CheckConstraint(
                condition=Q(program="") | ~Q(variability="global"),
                name="program_differs_from_global",
                violation_error_message="A decision for one program is not the same everywhere.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_purpose_display()}, {self.program or 'every other program'}"

    @property
    def purpose_entry(self) -> Purpose:
        return purpose(self.purpose)

    @property
    def missing(self) -> tuple[str, ...]:
        """What is not decided yet, in words."""
        return tuple(label_of(name) for name in REQUIRED if not getattr(self, name).strip())

    @property
    def complete(self) -> bool:
        return not self.missing

    @property
    def mode(self) -> str:
        """The operating mode that follows from our role; empty while that is not decided."""
        return MODE_OF_ROLE[self.our_role] if self.our_role else ""
