"""AuthorizationKeys: the Profile 2 secrets of chargers, versioned, in two slots, never in plain text."""

from django.db import models
from django.db.models import Q

from inventory.audit import history


class AuthorizationKey(models.Model):
    """One version of a charger's Profile 2 secret.

    Stored as a keyed HMAC whose key is outside the database: it verifies without a password-hashing storm when a
    fleet reconnects, and finds a key that two chargers share.
    """

    class State(models.TextChoices):
        PENDING = "pending", "Pending"
        ACTIVE = "active", "Active"
        RETIRING = "retiring", "Retiring"
        RETIRED = "retired", "Retired"
        REVOKED = "revoked", "Revoked"

    ACCEPTED_STATES = (State.PENDING, State.ACTIVE, State.RETIRING)

    identity = models.ForeignKey(
        "inventory.ManagedIdentity", on_delete=models.PROTECT, related_name="authorization_keys"
    )
    version = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    digest = models.CharField(max_length=64, editable=False, help_text="HMAC-SHA-256 of the secret, hex.")
    key_version = models.PositiveSmallIntegerField(default=1, help_text="Which HMAC key it was stored under.")
    source = models.CharField(max_length=30, help_text="generated, imported or set by a person.")
    created_at = models.DateTimeField()
    activated_at = models.DateTimeField(null=True, blank=True)
    last_success_at = models.DateTimeField(null=True, blank=True)
    retiring_until = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    history = history(excluded_fields=["digest"])

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["identity", "version"], name="key_version_once"),
            models.UniqueConstraint(fields=["identity"], condition=Q(state="active"), name="one_active_key"),
            models.UniqueConstraint(fields=["identity"], condition=Q(state="pending"), name="one_pending_key"),
        ]
        indexes = [models.Index(fields=["digest"])]
        permissions = [("set_authorizationkey", "Can set a charger's AuthorizationKey")]

    def __str__(self) -> str:
        return f"Key {self.version} of {self.identity} ({self.get_state_display()})"
