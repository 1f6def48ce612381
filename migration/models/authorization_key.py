"""AuthorizationKeys: the Profile 2 secrets of chargers, versioned, in two slots, never in plain text."""

from django.db import models
from django.db.models import Q
from django_fsm import FSMField, transition

from bfcerts.protected_state import ProtectedState
from inventory.audit import history
from inventory.clock_limits import EARLIEST_PLAUSIBLE
from migration.key_choices import ACCEPTED_KEY_STATES, FLAG_CHOICES, KeySource, KeyState, RotationReason


class AuthorizationKey(ProtectedState):
    """One version of a charger's Profile 2 secret.

    Stored as a keyed HMAC whose key is outside the database: it verifies without a password-hashing storm when a
    fleet reconnects, and finds a key that two chargers share. The state moves only by the transitions below, which only
    `migration.services.key_states` calls, under a row lock; the field is protected, and a trigger holds the same table.
    """

    State = KeyState
    ACCEPTED_STATES = ACCEPTED_KEY_STATES

    identity = models.ForeignKey(
        "inventory.ManagedIdentity", on_delete=models.PROTECT, related_name="authorization_keys"
    )
    version = models.PositiveIntegerField()
    state = FSMField(max_length=10, choices=KeyState.choices, default=KeyState.PENDING, protected=True)
    digest = models.CharField(max_length=64, editable=False, help_text="HMAC-SHA-256 of the secret, hex.")
    key_version = models.PositiveSmallIntegerField(default=1, help_text="Which HMAC key it was stored under.")
    source = models.CharField(max_length=30, choices=KeySource.choices)
    created_at = models.DateTimeField()
    activated_at = models.DateTimeField(null=True, blank=True)
    last_success_at = models.DateTimeField(null=True, blank=True)
    retiring_until = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    flag = models.CharField(
        max_length=20,
        choices=FLAG_CHOICES,
        blank=True,
        help_text="Why an operator wants it replaced.",
    )
    flagged_at = models.DateTimeField(null=True, blank=True)

    history = history(excluded_fields=["digest"])

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["identity", "version"], name="key_version_once"),
            models.UniqueConstraint(fields=["identity"], condition=Q(state="active"), name="one_active_key"),
            models.UniqueConstraint(fields=["identity"], condition=Q(state="pending"), name="one_pending_key"),
            models.CheckConstraint(
                condition=Q(state__in=["retired", "revoked"], ended_at__isnull=False)
                | Q(state__in=["pending", "active", "retiring"], ended_at__isnull=True),
                name="ended_key_has_time",
            ),
            models.CheckConstraint(
                condition=Q(created_at__gte=EARLIEST_PLAUSIBLE)
                & (Q(last_success_at__isnull=True) | Q(last_success_at__gte=EARLIEST_PLAUSIBLE)),
                name="key_known_since_2000",
            ),
        ]
        indexes = [
            models.Index(fields=["digest"]),
            models.Index(fields=["retiring_until"], condition=Q(state="retiring"), name="retiring_by_date"),
            models.Index(fields=["created_at"], condition=Q(state="active"), name="active_key_by_age"),
        ]
        permissions = [
            ("set_authorizationkey", "Can set a charger's AuthorizationKey"),
            ("rotate_authorizationkey", "Can rotate AuthorizationKeys"),
            ("flag_authorizationkey", "Can mark AuthorizationKeys for rotation"),
            ("forcerevoke_authorizationkey", "Can revoke a key that its charger may be about to use"),
        ]

    def __str__(self) -> str:
        return f"Key {self.version} of {self.identity} ({self.get_state_display()})"

    @property
    def flag_reason(self) -> RotationReason | None:
        """Why an operator wants it replaced."""
        return RotationReason(self.flag) if self.flag else None

    @transition(field=state, source=KeyState.PENDING, target=KeyState.ACTIVE)
    def activate(self) -> None:
        """The charger connected with it."""

    @transition(field=state, source=KeyState.ACTIVE, target=KeyState.RETIRING)
    def begin_retiring(self) -> None:
        """A newer one is in use; this one works until the rollback window ends."""

    @transition(field=state, source=KeyState.RETIRING, target=KeyState.RETIRED)
    def retire(self) -> None:
        """Its window is over."""

    @transition(field=state, source=[KeyState.PENDING, KeyState.ACTIVE, KeyState.RETIRING], target=KeyState.REVOKED)
    def revoke(self) -> None:
        """Refused from now on."""
