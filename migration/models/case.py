"""Migration cases: the move of one charger from Profile 2 to Profile 3."""

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import Q
from django_fsm import FSMField, transition

from bfcerts.protected_state import ProtectedState
from migration.states import CaseState, ReasonCode, Stage

S = CaseState


class MigrationCaseQuerySet(models.QuerySet["MigrationCase"]):
    """Intent-named questions; time is a parameter."""

    def live(self) -> Self:
        """Those that say how a charger's migration stands: all but the excepted and the cancelled."""
        return self.exclude(state__in=[S.EXCEPTED, S.CANCELLED])

    def past_deadline(self, now: datetime) -> Self:
        return self.filter(deadline__lte=now, state__in=[S.INSTALLING, S.PENDING_ACTIVATION, S.ROLLBACK])

    def failed(self) -> Self:
        """Those whose last try failed and that have not succeeded since."""
        return self.filter(failed_at__isnull=False)


class MigrationCase(ProtectedState):
    """The move of one charger. Its state moves only by `migration.services.cases`, under the identity's lock.

    Every transition is a domain event with its actor and reason, which is this table's audit history.
    """

    identity = models.ForeignKey("inventory.ManagedIdentity", on_delete=models.PROTECT, related_name="migration_cases")
    wave = models.ForeignKey("migration.Wave", null=True, blank=True, on_delete=models.PROTECT, related_name="cases")
    family = models.ForeignKey(
        "inventory.ChargerFamily",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="As it was planned.",
    )
    site = models.CharField(max_length=120, blank=True, help_text="As it was planned.")
    state = FSMField(choices=CaseState.choices, default=CaseState.PENDING, protected=True, max_length=20)
    stage = models.CharField(max_length=12, choices=Stage.choices, default=Stage.WAITING)
    reason_code = models.CharField(max_length=24, choices=ReasonCode.choices, blank=True)
    why = models.TextField(blank=True, help_text="Why it is not active, in a sentence.")
    tries_left = models.PositiveSmallIntegerField(default=1)
    failed_at = models.DateTimeField(
        null=True, blank=True, help_text="When its last try failed; empty once it is back."
    )
    last_failure = models.TextField(blank=True, help_text="Why its last try failed, in a sentence.")
    deadline = models.DateTimeField(null=True, blank=True, help_text="Silence until then is failure.")
    next_look_at = models.DateTimeField(help_text="Nothing is tried before.")
    record = models.ForeignKey(
        "inventory.CertificateRecord", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    issue_job = models.ForeignKey(
        "inventory.CertificateJob", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    cut_over_job = models.ForeignKey(
        "inventory.CertificateJob", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    last_frames = models.JSONField(default=list, blank=True, help_text="What was last said, without secrets.")
    entered_state_at = models.DateTimeField()
    opened_at = models.DateTimeField()
    decided_by = models.CharField(max_length=150, blank=True, help_text="Who quarantined, released or excepted it.")

    objects = MigrationCaseQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["identity"],
                condition=~Q(state__in=["excepted", "cancelled"]),
                name="one_live_case_per_identity",
            ),
            models.CheckConstraint(
                condition=Q(state="active") | (~Q(why="") & ~Q(reason_code="")), name="not_active_says_why"
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["pending_activation", "rollback"]) | Q(deadline__isnull=False),
                name="away_has_a_deadline",
            ),
        ]
        indexes = [
            models.Index(fields=["wave", "state"], name="case_by_wave"),
            models.Index(fields=["wave", "next_look_at", "id"], condition=Q(state="pending"), name="case_to_start"),
            models.Index(
                fields=["next_look_at"], condition=Q(state="installing", stage="ready"), name="case_to_cut_over"
            ),
            models.Index(
                fields=["deadline"],
                condition=Q(state__in=["installing", "pending_activation", "rollback"]),
                name="case_by_deadline",
            ),
            models.Index(
                fields=["wave", "family", "site"],
                condition=Q(failed_at__isnull=False) | (Q(state="quarantine") & ~Q(reason_code="breaker_open")),
                name="case_failed",
            ),
            models.Index(
                fields=["family"], condition=Q(state__in=["installing", "pending_activation"]), name="case_moving"
            ),
            models.Index(
                fields=["site"], condition=Q(state__in=["installing", "pending_activation"]), name="case_at_site"
            ),
            models.Index(fields=["state", "-id"]),
            models.Index(fields=["identity", "-id"]),
        ]
        permissions = [
            ("quarantine_migrationcase", "Can quarantine chargers"),
            ("release_migrationcase", "Can release chargers from quarantine"),
            ("except_migrationcase", "Can approve exceptions from the migration"),
            ("cancel_migrationcase", "Can cancel migrations"),
            ("rollback_migrationcase", "Can bring a charger back to Profile 2"),
        ]

    def __str__(self) -> str:
        return f"Migration of {self.identity} ({self.get_state_display()})"

    @transition(field=state, source=S.PENDING, target=S.INSTALLING)
    def install(self) -> None:
        """Every readiness check has passed."""

    @transition(field=state, source=S.INSTALLING, target=S.PENDING_ACTIVATION)
    def cut_over(self) -> None:
        """Anchors confirmed, leaf accepted; the cut-over is sent."""

    @transition(field=state, source=S.PENDING_ACTIVATION, target=S.ACTIVE)
    def activate(self) -> None:
        """A mutual-TLS connection with exactly the new certificate."""

    @transition(field=state, source=[S.INSTALLING, S.PENDING_ACTIVATION, S.ACTIVE], target=S.ROLLBACK)
    def roll_back(self) -> None:
        """Refused, failed or silent past the deadline; or its family can lower its profile and somebody says so."""

    @transition(field=state, source=S.ROLLBACK, target=S.PENDING)
    def come_back(self) -> None:
        """Back with a way in that works, and tries are left."""

    @transition(field=state, source=[S.PENDING, S.INSTALLING, S.PENDING_ACTIVATION, S.ROLLBACK], target=S.QUARANTINE)
    def quarantine(self) -> None:
        """Automation stops; certificate and access stay as they are."""

    @transition(field=state, source=S.QUARANTINE, target=S.PENDING)
    def release(self) -> None:
        """A person says that it may be tried again."""

    @transition(field=state, source=S.QUARANTINE, target=S.EXCEPTED)
    def approve_exception(self) -> None:
        """A person has approved that it stays as it is."""

    @transition(
        field=state,
        source=[S.PENDING, S.INSTALLING, S.PENDING_ACTIVATION, S.ROLLBACK, S.QUARANTINE, S.EXCEPTED],
        target=S.CANCELLED,
    )
    def cancel(self) -> None:
        """An operator takes it out of the migration."""
