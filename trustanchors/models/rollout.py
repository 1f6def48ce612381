"""Rollouts: the release of one bundle to one cohort, with the gate that dependent leaf rollouts wait at."""

from datetime import timedelta

from django.db import models
from django.db.models import F, Q
from django_fsm import FSMField, transition

from bfcerts.protected_state import ProtectedState
from inventory.audit import history
from inventory.models import ChargerFamily, Cohort
from inventory.purposes import PURPOSE_CHOICES
from trustanchors.choices import OPENING_STATES, STANDING_STATES, RolloutState
from trustanchors.models.bundle import TrustAnchorBundle

S = RolloutState
COUNTERS = ("targets", "confirmed", "failed", "withdrawn")


class BundleRollout(ProtectedState):
    """One release of a bundle to a cohort.

    Whoever was a member when it was released, or has become one since, is a target and stays one: neither silence nor
    failure nor leaving the cohort makes the number of targets smaller. The counters are kept by the database in the
    transaction that changes an installation, and `gate_open` follows from them: nobody can set it.
    """

    bundle = models.ForeignKey(TrustAnchorBundle, on_delete=models.PROTECT, related_name="rollouts")
    purpose = models.CharField(max_length=40, choices=PURPOSE_CHOICES)
    cohort = models.ForeignKey(Cohort, on_delete=models.PROTECT, related_name="bundle_rollouts")
    state = FSMField(choices=RolloutState.choices, default=RolloutState.PLANNED, protected=True, max_length=12)
    previous = models.OneToOneField(
        "self",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="replacement",
        help_text="What this cohort had before, for a rollback and for deleting what is replaced.",
    )
    replaced_at = models.DateTimeField(null=True, blank=True)

    threshold_percent = models.PositiveSmallIntegerField(
        default=95, help_text="First enrolments and cut-overs of the cohort wait until so many confirm their anchors."
    )
    concurrency = models.PositiveIntegerField(default=20, help_text="How many chargers at once.")
    rate_per_minute = models.PositiveIntegerField(default=60, help_text="How many chargers are begun in a minute.")
    failure_limit = models.PositiveIntegerField(
        default=3, help_text="So many failures in one family stop that family, and no other."
    )
    deadline = models.DurationField(
        default=timedelta(hours=24), help_text="How long a charger has once it was begun; silence is failure."
    )
    check_interval = models.DurationField(
        default=timedelta(days=7), help_text="How often a charger is asked again what it has installed."
    )

    targets = models.PositiveIntegerField(default=0, editable=False)
    confirmed = models.PositiveIntegerField(default=0, editable=False)
    failed = models.PositiveIntegerField(default=0, editable=False)
    withdrawn = models.PositiveIntegerField(default=0, editable=False)
    gate_open = models.GeneratedField(
        expression=Q(  # type: ignore[arg-type]  # a condition is an expression since Django 4.2
            state__in=[state.value for state in OPENING_STATES],
            targets__gt=0,
            confirmed__gte=models.ExpressionWrapper(
                (F("threshold_percent") * F("targets") + 99) / 100, output_field=models.IntegerField()
            ),
        ),
        output_field=models.BooleanField(),
        db_persist=True,
    )
    outcome = models.TextField(blank=True, help_text="Why it stopped or ended, in a sentence.")
    retry_asked_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="What had failed by then is begun anew."
    )
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)

    history = history(excluded_fields=["gate_open", *COUNTERS])

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["cohort", "purpose"],
                condition=Q(replaced_at__isnull=True, state__in=[state.value for state in STANDING_STATES]),
                name="one_standing_rollout_per_cohort",
            ),
            models.CheckConstraint(
                condition=Q(threshold_percent__gte=1, threshold_percent__lte=100), name="rollout_threshold_1_to_100"
            ),
            models.CheckConstraint(
                condition=Q(concurrency__gte=1, rate_per_minute__gte=1, failure_limit__gte=1), name="rollout_limits"
            ),
            models.CheckConstraint(
                condition=Q(targets__gte=F("confirmed") + F("failed") + F("withdrawn")), name="rollout_counts_add_up"
            ),
        ]
        permissions = [
            ("control_bundlerollout", "Can pause, resume, stop and retry a bundle rollout"),
            ("rollback_bundlerollout", "Can roll a bundle rollout back"),
        ]

    def __str__(self) -> str:
        return f"{self.bundle} to {self.cohort}"

    @property
    def is_standing(self) -> bool:
        """Whether it is what its cohort is meant to have."""
        return self.replaced_at is None and self.state in STANDING_STATES

    @property
    def needed(self) -> int:
        """How many confirmations open the gate."""
        return max(1, -(-self.threshold_percent * self.targets // 100))

    @transition(field=state, source=[S.PLANNED, S.PAUSED, S.COMPLETE, S.STOPPED], target=S.RUNNING)
    def run(self) -> None:
        """Begin, go on, or take in chargers that came later."""

    @transition(field=state, source=S.RUNNING, target=S.PAUSED)
    def pause(self) -> None:
        """Begin no further charger until it goes on."""

    @transition(field=state, source=S.RUNNING, target=S.COMPLETE)
    def complete(self) -> None:
        """Nothing is left to do, and the threshold is met."""

    @transition(field=state, source=[S.PLANNED, S.RUNNING, S.PAUSED], target=S.STOPPED)
    def stop(self) -> None:
        """Ended without having reached its end."""

    @transition(
        field=state,
        source=[S.PLANNED, S.RUNNING, S.PAUSED, S.COMPLETE, S.STOPPED, S.ROLLED_BACK],
        target=S.WITHDRAWN,
    )
    def withdraw(self) -> None:
        """Its bundle is not to be relied on any more."""

    @transition(field=state, source=[S.RUNNING, S.PAUSED, S.COMPLETE, S.STOPPED], target=S.ROLLED_BACK)
    def roll_back(self) -> None:
        """The cohort goes back to what it had before."""


class RolloutFamily(models.Model):
    """How a rollout goes in one charger family: its canary, its counts, and whether it is stopped.

    `stopped` follows from the counts in the database, so a family that fails stops by itself, whoever looks.
    """

    rollout = models.ForeignKey(BundleRollout, on_delete=models.PROTECT, related_name="families")
    family = models.ForeignKey(
        ChargerFamily, null=True, blank=True, on_delete=models.PROTECT, related_name="+", help_text="Empty: unknown."
    )
    proven_at = models.DateTimeField(
        null=True, blank=True, help_text="When its canary came back; until then no other of the family is begun."
    )
    halted_by = models.TextField(
        blank=True, help_text="What became of its canary, in a sentence: no other of the family is begun."
    )
    failure_limit = models.PositiveIntegerField()
    targets = models.PositiveIntegerField(default=0, editable=False)
    confirmed = models.PositiveIntegerField(default=0, editable=False)
    failed = models.PositiveIntegerField(default=0, editable=False)
    withdrawn = models.PositiveIntegerField(default=0, editable=False)
    stopped = models.GeneratedField(
        expression=Q(failed__gte=F("failure_limit")),  # type: ignore[arg-type]  # as above
        output_field=models.BooleanField(),
        db_persist=True,
    )

    class Meta:
        verbose_name_plural = "rollout families"
        constraints = [
            models.UniqueConstraint(fields=["rollout", "family"], nulls_distinct=False, name="rollout_family_once"),
        ]

    def __str__(self) -> str:
        return str(self.family) if self.family_id else "Unknown family"
