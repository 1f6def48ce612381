"""Migration rollouts: an applied plan on its way, wave after wave."""

from datetime import timedelta

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django_fsm import FSMField, transition

from bfcerts.protected_state import ProtectedState
from inventory.audit import history
from migration.states import RolloutState

S = RolloutState


class MigrationRollout(ProtectedState):
    """Waves of chargers on their way to Profile 3, with the thresholds and budgets that hold for all of them."""

    name = models.CharField(max_length=120)
    state = FSMField(choices=RolloutState.choices, default=RolloutState.PLANNED, protected=True, max_length=10)
    plan = models.OneToOneField(
        "inventory.Plan", null=True, blank=True, on_delete=models.PROTECT, related_name="migration_rollout"
    )
    success_threshold_percent = models.PositiveSmallIntegerField(
        default=95, validators=[MinValueValidator(1), MaxValueValidator(100)]
    )
    failure_threshold_percent = models.PositiveSmallIntegerField(
        default=5, validators=[MinValueValidator(0), MaxValueValidator(99)]
    )
    minimum_sample = models.PositiveIntegerField(
        default=10, validators=[MinValueValidator(1)], help_text="Chargers decided before failures close the gate."
    )
    retry_budget = models.PositiveSmallIntegerField(default=1, help_text="Further tries after a charger's first.")
    case_deadline = models.DurationField(
        default=timedelta(hours=4), help_text="How long a charger has for its certificate; silence is failure."
    )
    return_deadline = models.DurationField(
        default=timedelta(hours=24), help_text="How long a charger has to come back on Profile 2."
    )
    family_failure_limit = models.PositiveIntegerField(
        default=3, validators=[MinValueValidator(1)], help_text="So many failures of one family stop it alone."
    )
    site_failure_limit = models.PositiveIntegerField(
        default=3, validators=[MinValueValidator(1)], help_text="So many failures of one site stop it alone."
    )
    advance_automatically = models.BooleanField(
        default=True, help_text="The next wave starts by itself when the one before has passed."
    )
    overrides_forecast = models.BooleanField(
        default=False, editable=False, help_text="Chargers are cut over although they may not come back."
    )
    reason = models.TextField()
    note = models.TextField(blank=True, help_text="Why it is paused or stopped.")
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(
        null=True, blank=True, help_text="When it ended last; a charger that is released later has it run again."
    )
    filled_to = models.BigIntegerField(
        default=0, editable=False, help_text="The last identity whose case was opened; all are once it has run."
    )
    retry_wanted_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Since when its failed chargers are being tried anew."
    )
    retry_wanted_by = models.CharField(max_length=150, blank=True, editable=False)
    retry_reason = models.TextField(blank=True, editable=False)

    history = history(excluded_fields=["filled_to"])

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(success_threshold_percent__gte=1, success_threshold_percent__lte=100),
                name="rollout_success_1_to_100",
            ),
            models.CheckConstraint(
                condition=Q(failure_threshold_percent__lte=100 - F("success_threshold_percent")),
                name="rollout_thresholds_apart",
            ),
            models.CheckConstraint(condition=Q(minimum_sample__gte=1), name="rollout_sample_of_one"),
        ]
        indexes = [
            models.Index(fields=["state", "-id"]),
            models.Index(fields=["id"], condition=Q(retry_wanted_at__isnull=False), name="rollout_to_retry"),
        ]
        permissions = [
            ("start_migrationrollout", "Can apply migration plans and start rollouts"),
            ("pause_migrationrollout", "Can pause migration rollouts"),
            ("resume_migrationrollout", "Can resume migration rollouts"),
            ("stop_migrationrollout", "Can stop migration rollouts"),
            ("advance_migrationrollout", "Can start the next wave"),
            ("retry_migrationrollout", "Can retry the failed chargers of a rollout"),
            ("rollback_migrationrollout", "Can roll back waves"),
            ("override_lockout_forecast", "Can make changes that lock chargers out"),
        ]

    def __str__(self) -> str:
        return self.name

    @transition(field=state, source=[S.PLANNED, S.PAUSED, S.COMPLETE], target=S.RUNNING)
    def run(self) -> None:
        """Waves are started and driven; after it was complete, the chargers that were released."""

    @transition(field=state, source=[S.RUNNING, S.COMPLETE], target=S.PAUSED)
    def pause(self) -> None:
        """Nobody new is started; whoever is on the way goes on."""

    @transition(field=state, source=[S.PLANNED, S.RUNNING, S.PAUSED], target=S.STOPPED)
    def stop(self) -> None:
        """Nobody new is started, for good."""

    @transition(field=state, source=S.RUNNING, target=S.COMPLETE)
    def complete(self) -> None:
        """Every wave has passed."""
