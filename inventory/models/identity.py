"""Managed identities: the subjects that can hold certificates."""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Upper

from inventory.audit import history
from inventory.choices import OperatingMode, SubjectKind
from inventory.ownership import ownership_of
from inventory.purposes import PURPOSE_CHOICES, Purpose, PurposeError, purposes


class ManagedIdentity(models.Model):
    """A charger, EVSE, vehicle, service endpoint or IoT hub device.

    Its authoritative identifier (charge point id, EVSE ID, VIN or PCID, host name, thing name) comes from our
    records, never from a certificate's subject (domain.md; FR-005).
    """

    kind = models.CharField(max_length=20, choices=SubjectKind.choices)
    authoritative_identifier = models.CharField(
        max_length=255, help_text="Charge point id, EVSE ID, VIN or PCID, host name, or thing name."
    )
    serial_number = models.CharField(
        max_length=64, blank=True, help_text="Of a charger: many stations put it into the subject."
    )
    name = models.CharField(max_length=120, blank=True, help_text="A name for people.")
    owner = models.CharField(max_length=120, blank=True)
    site = models.CharField(max_length=120, blank=True)
    region = models.CharField(max_length=60, blank=True)
    tags = ArrayField(models.CharField(max_length=60), default=list, blank=True)
    family = models.ForeignKey(
        "inventory.ChargerFamily", null=True, blank=True, on_delete=models.PROTECT, related_name="identities"
    )
    firmware_version = models.CharField(max_length=50, blank=True)
    parent = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="children",
        help_text="Charger of an EVSE.",
    )
    program = models.CharField(max_length=60, blank=True, help_text="OEM, customer or scheme program.")
    mode = models.CharField(
        max_length=15,
        choices=OperatingMode.choices,
        blank=True,
        help_text="Overrides the operating mode of its purposes; empty: the purpose's default.",
    )
    pilot = models.BooleanField(default=False, help_text="May use purposes whose ownership is not yet decided.")
    allowed_purposes = ArrayField(
        models.CharField(max_length=40, choices=PURPOSE_CHOICES),
        default=list,
        blank=True,
        help_text="Empty: every purpose that its kind allows.",
    )
    enabled = models.BooleanField(default=True, help_text="A disabled identity is refused at every door.")
    security_profile = models.PositiveSmallIntegerField(
        default=0, help_text="The OCPP security profile it has reached; a lower one is refused from then on."
    )
    fallback_until = models.DateTimeField(
        null=True, blank=True, help_text="Until then its migration allows a lower profile."
    )
    connections_watched_until = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Until then every connection is told to those who wait for it."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    history = history(excluded_fields=["connections_watched_until"])

    class Meta:
        verbose_name = "identity"
        verbose_name_plural = "identities"
        constraints = [
            models.UniqueConstraint(fields=["kind", "authoritative_identifier"], name="one_identity_per_identifier"),
            models.CheckConstraint(condition=Q(security_profile__lte=3), name="security_profile_0_to_3"),
            models.CheckConstraint(condition=~Q(authoritative_identifier=""), name="identifier_not_empty"),
        ]
        indexes = [
            models.Index(fields=["authoritative_identifier"]),
            models.Index(Upper("authoritative_identifier"), name="identity_by_capital_id"),
            models.Index(fields=["serial_number"], condition=~Q(serial_number=""), name="identity_by_serial_number"),
            models.Index(fields=["site"]),
            models.Index(fields=["region"]),
            models.Index(fields=["owner"]),
            models.Index(fields=["program"], condition=~Q(program=""), name="identity_by_program"),
            models.Index(fields=["id"], condition=Q(enabled=False), name="identity_disabled"),
            models.Index(fields=["security_profile", "-id"]),
            models.Index(
                fields=["fallback_until"], condition=Q(fallback_until__isnull=False), name="identity_fallback"
            ),
            GinIndex(fields=["tags"], name="identity_by_tag"),
        ]
        permissions = [
            ("command_managedidentity", "Can send commands to a station"),
            ("cutover_managedidentity", "Can cut a station over to Profile 3"),
        ]

    def __str__(self) -> str:
        return self.name or self.authoritative_identifier

    def check_purpose(self, purpose: Purpose) -> None:
        """Refuse a purpose that is not for this identity.

        :raises PurposeError: with the sentence for the user.
        """
        if self.kind not in purpose.subject_kinds:
            kinds = " or ".join(sorted(SubjectKind(kind).label for kind in purpose.subject_kinds))
            raise PurposeError(
                f"{purpose.label} certificates are for {kinds}; {self.authoritative_identifier} is "
                f"a {SubjectKind(self.kind).label.lower()}."
            )
        if self.allowed_purposes and purpose.key not in self.allowed_purposes:
            raise PurposeError(
                f"{self.authoritative_identifier} may not hold {purpose.label} certificates: add the purpose to its "
                "allowed purposes first."
            )

    def possible_purposes(self) -> list[Purpose]:
        """The purposes that this identity may hold certificates for."""
        return [
            item
            for item in purposes()
            if self.kind in item.subject_kinds and (not self.allowed_purposes or item.key in self.allowed_purposes)
        ]

    def mode_for(self, purpose: Purpose) -> str:
        """The operating mode in which this identity holds certificates of a purpose: its own, its program's, or the
        purpose's."""
        return self.mode or ownership_of(purpose, self.program).mode or purpose.default_mode
