"""Plans: what a bulk action would do, stored before it is done, and what came of it."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from inventory.actors import Actor
from inventory.audit import history
from inventory.choices import PlanRun, PlanState, TargetOutcome


class Plan(models.Model):
    """One bulk action as it was looked at: who, what, how long, at which risk, and the digest that names it.

    A plan is prepared batch by batch and has a digest only when it is complete, so a half-written one can never be
    applied; from then on neither it nor its targets change, but for what comes of them.
    """

    kind = models.CharField(max_length=40)
    title = models.CharField(max_length=200)
    parameters = models.JSONField(default=dict, help_text="As the kind has checked and completed them.")
    state = models.CharField(max_length=10, choices=PlanState.choices, default=PlanState.PREPARING)
    digest = models.CharField(max_length=64, blank=True, help_text="Names exactly these targets and steps.")
    cursor = models.BigIntegerField(default=0, help_text="The last identity that was looked at while preparing.")
    candidates = models.PositiveIntegerField(default=0)
    included = models.PositiveIntegerField(default=0)
    excluded = models.JSONField(default=dict, help_text="How many are excluded, by reason.")
    steps = models.JSONField(default=dict, help_text="How many included targets take each step.")
    risk = models.JSONField(default=dict, help_text="How many are included, by family and by site.")
    expected_duration = models.DurationField(null=True)
    expected_basis = models.TextField(blank=True, help_text="What the expected duration rests on, in sentences.")
    actor = models.CharField(max_length=150)
    reason = models.TextField()
    correlation_id = models.CharField(max_length=64)
    created_at = models.DateTimeField()
    prepared_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(help_text="From then on it can no longer be applied.")
    applied_at = models.DateTimeField(null=True)
    applied_by = models.CharField(max_length=150, blank=True)
    applied_user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    applied_reason = models.TextField(blank=True)
    applying_since = models.DateTimeField(
        null=True, help_text="When comparing began; what it found does not keep long."
    )
    check_cursor = models.BigIntegerField(default=0, help_text="The last identity that was compared while applying.")
    checked = models.PositiveIntegerField(default=0, help_text="How many were compared when it was last applied.")
    difference = models.JSONField(default=dict, help_text="What was found to have changed, while applying.")
    refusal = models.JSONField(
        default=dict, help_text="Why it was refused when it was last applied, with what changed."
    )
    run = models.CharField(max_length=10, choices=PlanRun.choices, blank=True)
    run_note = models.TextField(blank=True, help_text="Why it is paused or stopped.")
    finished_at = models.DateTimeField(null=True)

    history = history(excluded_fields=["cursor", "check_cursor", "checked", "difference"])

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~Q(state__in=["planned", "applying", "applied"])
                | (~Q(digest="") & Q(prepared_at__isnull=False)),
                name="complete_plan_has_digest",
            ),
            models.CheckConstraint(
                condition=~Q(state="applied") | (~Q(applied_by="") & Q(applied_at__isnull=False)),
                name="applied_plan_names_who",
            ),
            models.CheckConstraint(
                condition=~Q(state="applying") | ~Q(applied_by=""), name="plan_being_applied_names_who"
            ),
            models.CheckConstraint(condition=Q(run="") | Q(state="applied"), name="only_applied_plans_run"),
        ]
        indexes = [
            models.Index(fields=["state", "-id"]),
            models.Index(fields=["kind", "-id"]),
            models.Index(fields=["run"], condition=Q(run="running"), name="plan_running"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def applier(self) -> Actor:
        """In whose name it is applied and run, with that person's permissions as they are now.

        A person whose account is gone has none; only what the system itself applied needs no account.
        """
        return Actor.person(self.applied_user) if self.applied_user else Actor.named(self.applied_by)


class PlanTarget(models.Model):
    """One identity that a plan looked at: whether it is included, with which steps, or why not."""

    id = models.BigAutoField(primary_key=True)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="targets", db_index=False)
    identity = models.ForeignKey("inventory.ManagedIdentity", on_delete=models.PROTECT, related_name="+")
    position = models.PositiveIntegerField(help_text="Its place in the plan; identities stand in order of their ids.")
    included = models.BooleanField()
    reason_code = models.CharField(max_length=40, blank=True)
    reason = models.TextField(blank=True, help_text="Why it is excluded, in a sentence.")
    steps = ArrayField(models.CharField(max_length=60), default=list)
    family_name = models.CharField(max_length=120, blank=True, help_text="At the time of the plan.")
    site = models.CharField(max_length=120, blank=True, help_text="At the time of the plan.")
    outcome = models.CharField(max_length=10, choices=TargetOutcome.choices, blank=True)
    detail = models.TextField(blank=True, help_text="What came of it, in a sentence.")
    job = models.ForeignKey(
        "inventory.CertificateJob", null=True, on_delete=models.PROTECT, related_name="plan_targets"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["plan", "identity"], name="one_target_per_identity"),
            models.CheckConstraint(condition=Q(included=True) | ~Q(reason_code=""), name="excluded_with_a_reason"),
            models.CheckConstraint(condition=Q(included=True) | Q(outcome=""), name="only_included_targets_run"),
        ]
        indexes = [
            models.Index(fields=["plan", "id"], name="target_of_plan"),
            models.Index(fields=["plan", "outcome", "position"], name="target_by_outcome"),
            models.Index(fields=["plan", "reason_code", "position"], name="target_by_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.identity} in plan {self.plan_id}"
