"""The companies of the ecosystem in our pools, what identifies each, and by what its programs are known."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from inventory.audit import history
from provisioning.pools.choices import CredentialKind, IdentifierKind, PoolRole, PoolScope


class PoolNode(models.Model):
    """One company in one role. It exists only after a person confirmed whose identifiers it has."""

    name = models.CharField(max_length=120, help_text="The company, as people know it.")
    role = models.CharField(max_length=15, choices=PoolRole.choices)
    requests_per_second = models.FloatField(default=20.0, help_text="Beyond this its calls are refused for a moment.")
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True, help_text="Nothing is answered to it from then on.")

    history = history()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["name", "role"], condition=Q(closed_at__isnull=True), name="one_open_node_per_company_and_role"
            ),
            models.CheckConstraint(condition=Q(requests_per_second__gt=0), name="pool_node_rate_is_positive"),
        ]
        permissions = [
            ("confirm_poolnode", "Can confirm a company's identifiers and open its node in the pools"),
            ("close_poolnode", "Can close a node of the pools, and end an identifier of it"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.get_role_display()})"


class PoolIdentifier(models.Model):
    """A provider id, WMI or operator id that a node has, and who confirmed it on whose word."""

    node = models.ForeignKey(PoolNode, on_delete=models.PROTECT, related_name="identifiers")
    kind = models.CharField(max_length=10, choices=IdentifierKind.choices)
    value = models.CharField(max_length=5, help_text="In capitals, without separators.")
    issuing_authority = models.CharField(max_length=200, help_text="Who gives out such identifiers, and confirmed it.")
    confirmed_at = models.DateTimeField()
    confirmed_by = models.CharField(max_length=150)
    reason = models.TextField()
    ended_at = models.DateTimeField(null=True, blank=True)
    cleansed_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When nothing was left in the pools that was under it."
    )

    history = history(excluded_fields=["cleansed_at"])

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "value"], condition=Q(ended_at__isnull=True), name="an_identifier_has_one_node"
            ),
            models.CheckConstraint(
                condition=~Q(confirmed_by="") & ~Q(issuing_authority="") & ~Q(reason=""),
                name="an_identifier_was_confirmed",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.value}"


class PoolCredential(models.Model):
    """By what a program of a node is known: a digest of its token, or the fingerprint of its client certificate."""

    unversioned_fields = ("last_used_at",)

    node = models.ForeignKey(PoolNode, on_delete=models.PROTECT, related_name="credentials")
    kind = models.CharField(max_length=12, choices=CredentialKind.choices)
    label = models.CharField(max_length=120, help_text="Whose it is, as “production gateway”.")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=12, choices=PoolScope.choices), default=list)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, help_text="To the hour.")

    history = history(excluded_fields=["digest", "last_used_at"])

    class Meta:
        permissions = [
            ("give_poolcredential", "Can give a node of the pools a credential"),
            ("revoke_poolcredential", "Can revoke a credential of the pools"),
        ]

    def __str__(self) -> str:
        return self.label
