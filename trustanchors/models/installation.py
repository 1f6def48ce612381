"""Installations: a bundle on one endpoint, step by step."""

from typing import Any

from django.db import models
from django.db.models import Q
from django_fsm import FSMField, transition

from bfcerts.protected_state import ProtectedState
from inventory.audit import history
from inventory.models import ManagedIdentity
from inventory.purposes import PURPOSE_CHOICES
from trustanchors.choices import CONFIRMED_STATES, InstallationState
from trustanchors.models.rollout import BundleRollout, RolloutFamily

S = InstallationState


class BundleInstallation(ProtectedState):
    """What one endpoint is to trust for a purpose, and what it is known to have."""

    rollout = models.ForeignKey(BundleRollout, on_delete=models.PROTECT, related_name="installations")
    group = models.ForeignKey(RolloutFamily, on_delete=models.PROTECT, related_name="installations")
    identity = models.ForeignKey(ManagedIdentity, on_delete=models.PROTECT, related_name="bundle_installations")
    purpose = models.CharField(max_length=40, choices=PURPOSE_CHOICES)
    current = models.BooleanField(default=True, help_text="It is the newest of the identity and purpose.")
    state = FSMField(choices=InstallationState.choices, default=S.INTENDED, protected=True, max_length=12)
    reason_code = models.CharField(max_length=40, blank=True)
    detail = models.TextField(blank=True, help_text="Why it is as it is, in a sentence for the operator.")

    canary = models.BooleanField(default=False, help_text="The first of its family: it must come back.")
    round = models.PositiveSmallIntegerField(default=1, help_text="How often it was begun anew, and one.")
    retry_asked_at = models.DateTimeField(null=True, blank=True, help_text="Somebody wants it begun anew.")
    steps: "models.JSONField[list[dict[str, Any]], list[dict[str, Any]]]" = models.JSONField(default=list, blank=True)
    awaiting = models.CharField(max_length=60, blank=True, help_text="The command whose answer is waited for.")
    next_run_at = models.DateTimeField(null=True, blank=True, help_text="When the next step may be tried.")
    deadline = models.DateTimeField(null=True, blank=True, help_text="What is not done by then has failed.")

    listed = models.JSONField(null=True, blank=True, help_text="What it last said that it has, as it wrote it.")
    started_at = models.DateTimeField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)
    installed_at = models.DateTimeField(null=True, blank=True)
    activated_at = models.DateTimeField(null=True, blank=True)
    returned_at = models.DateTimeField(null=True, blank=True, help_text="When it last connected after a change.")
    checked_at = models.DateTimeField(null=True, blank=True, help_text="When it last said what it has.")
    next_check_at = models.DateTimeField(null=True, blank=True)
    mismatched_at = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    history = history(excluded_fields=["listed", "steps", "awaiting", "next_run_at", "updated_at"])

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["rollout", "identity"], name="installation_once_per_rollout"),
            models.UniqueConstraint(
                fields=["identity", "purpose"], condition=Q(current=True), name="one_current_installation"
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["installed", "active"])
                | Q(installed_at__isnull=False, checked_at__isnull=False),
                name="installed_was_listed",
            ),
        ]
        indexes = [
            models.Index(fields=["rollout", "state", "id"]),
            models.Index(fields=["group", "state", "id"]),
            models.Index(fields=["deadline"], condition=Q(deadline__isnull=False), name="installation_by_deadline"),
            models.Index(fields=["next_run_at"], condition=Q(next_run_at__isnull=False), name="installation_due"),
            models.Index(
                fields=["retry_asked_at"], condition=Q(retry_asked_at__isnull=False), name="installation_retry"
            ),
            models.Index(fields=["next_check_at"], condition=Q(next_check_at__isnull=False), name="installation_check"),
        ]

    def __str__(self) -> str:
        return f"{self.rollout.bundle} on {self.identity.authoritative_identifier}"

    @property
    def is_confirmed(self) -> bool:
        """Whether the endpoint is known to have its anchors."""
        return self.state in CONFIRMED_STATES

    @transition(field=state, source=S.INTENDED, target=S.DELIVERED)
    def deliver(self) -> None:
        """Every anchor was sent and answered."""

    @transition(field=state, source=[S.DELIVERED, S.MISMATCHED], target=S.INSTALLED)
    def confirm(self) -> None:
        """The endpoint lists what is intended."""

    @transition(field=state, source=S.INSTALLED, target=S.ACTIVE)
    def activate(self) -> None:
        """It has connected since in a way that needed it."""

    @transition(field=state, source=[S.DELIVERED, S.INSTALLED, S.ACTIVE], target=S.MISMATCHED)
    def mismatch(self) -> None:
        """What it lists differs from what is intended."""

    @transition(field=state, source=[S.INTENDED, S.DELIVERED, S.INSTALLED, S.ACTIVE, S.MISMATCHED], target=S.FAILED)
    def fail(self) -> None:
        """Refused, or silent past its deadline."""

    @transition(field=state, source=[S.FAILED, S.MISMATCHED], target=S.INTENDED)
    def retry(self) -> None:
        """Begun anew."""

    @transition(
        field=state,
        source=[S.INTENDED, S.DELIVERED, S.INSTALLED, S.ACTIVE, S.FAILED, S.MISMATCHED],
        target=S.WITHDRAWN,
    )
    def withdraw(self) -> None:
        """Not intended any more."""
