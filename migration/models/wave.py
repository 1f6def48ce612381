"""Waves: the ordered parts of a rollout, each with its rate, its limits and its gate."""

from datetime import timedelta

from django.db import models
from django.db.models import Q
from django_fsm import FSMField, transition

from bfcerts.protected_state import ProtectedState
from inventory.audit import history
from migration.states import WaveState

S = WaveState


class Wave(ProtectedState):
    """One cohort's part of a rollout. Its number of chargers is fixed when it starts; silence never shrinks it."""

    rollout = models.ForeignKey("migration.MigrationRollout", on_delete=models.PROTECT, related_name="waves")
    position = models.PositiveSmallIntegerField()
    cohort = models.ForeignKey("inventory.Cohort", on_delete=models.PROTECT, related_name="migration_waves")
    anchor_rollouts = models.ManyToManyField(
        "trustanchors.BundleRollout",
        blank=True,
        related_name="dependent_waves",
        help_text="Their gates must be open: the database refuses to start the wave otherwise.",
    )
    state = FSMField(choices=WaveState.choices, default=WaveState.PENDING, protected=True, max_length=12)
    concurrency = models.PositiveIntegerField(default=200, help_text="Chargers on the way at once.")
    per_minute = models.PositiveIntegerField(default=1500, help_text="Chargers started in a minute.")
    per_family = models.PositiveIntegerField(null=True, blank=True, help_text="Of one family on the way at once.")
    per_site = models.PositiveIntegerField(null=True, blank=True, help_text="Of one site on the way at once.")
    success_threshold_percent = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Empty: the rollout's."
    )
    failure_threshold_percent = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Empty: the rollout's."
    )
    minimum_sample = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: the rollout's.")
    patience = models.DurationField(
        default=timedelta(days=3), help_text="From its start; what is undecided then makes the gate inconclusive."
    )
    deadline = models.DateTimeField(null=True, blank=True)
    total = models.PositiveIntegerField(null=True, blank=True, help_text="Its chargers, fixed when it starts.")
    started_at = models.DateTimeField(null=True, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    verdict = models.TextField(blank=True, help_text="What its gate says, in a sentence.")

    history = history()

    class Meta:
        ordering = ["rollout", "position"]
        constraints = [
            models.UniqueConstraint(fields=["rollout", "position"], name="wave_position_once"),
            models.UniqueConstraint(fields=["rollout"], condition=Q(state="running"), name="one_running_wave"),
            models.CheckConstraint(condition=Q(position__gte=1), name="wave_position_from_1"),
            models.CheckConstraint(condition=Q(concurrency__gte=1, per_minute__gte=1), name="wave_moves_at_all"),
            models.CheckConstraint(
                condition=Q(success_threshold_percent__isnull=True)
                | Q(success_threshold_percent__gte=1, success_threshold_percent__lte=100),
                name="wave_success_1_to_100",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["running", "passed"]) | Q(total__gte=1, deadline__isnull=False),
                name="started_wave_has_targets",
            ),
        ]
        indexes = [models.Index(fields=["state", "rollout"])]

    def __str__(self) -> str:
        return f"Wave {self.position} of {self.rollout.name}"

    @property
    def success_percent(self) -> int:
        return (
            self.rollout.success_threshold_percent
            if self.success_threshold_percent is None
            else (self.success_threshold_percent)
        )

    @property
    def failure_percent(self) -> int:
        return (
            self.rollout.failure_threshold_percent
            if self.failure_threshold_percent is None
            else (self.failure_threshold_percent)
        )

    @property
    def sample(self) -> int:
        return self.rollout.minimum_sample if self.minimum_sample is None else self.minimum_sample

    @transition(field=state, source=[S.PENDING, S.PAUSED, S.FAILED], target=S.RUNNING)
    def run(self) -> None:
        """Its chargers are started."""

    @transition(field=state, source=S.RUNNING, target=S.PAUSED)
    def pause(self) -> None:
        """Its gate is inconclusive, or its rollout was paused."""

    @transition(field=state, source=S.RUNNING, target=S.PASSED)
    def succeed(self) -> None:
        """Its gate is open: so many are active that the next wave may start."""

    @transition(field=state, source=S.RUNNING, target=S.FAILED)
    def fail(self) -> None:
        """Too many of its chargers failed."""

    @transition(field=state, source=[S.PENDING, S.RUNNING, S.PAUSED, S.FAILED], target=S.STOPPED)
    def stop(self) -> None:
        """Its rollout was stopped."""

    @transition(
        field=state,
        source=[S.PENDING, S.RUNNING, S.PAUSED, S.PASSED, S.FAILED, S.STOPPED],
        target=S.ROLLED_BACK,
    )
    def roll_back(self) -> None:
        """Its chargers go back to Profile 2, as far as their families can."""
