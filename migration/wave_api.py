"""Migrations over the API: rollouts, their waves, and what was stopped alone."""

from collections.abc import Callable
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter

from inventory.api.base import Listing, ReasonSerializer
from inventory.api.filters import Narrowing
from migration.models import Breaker, MigrationRollout, Wave
from migration.services import breakers, rollouts


class RolloutSerializer(serializers.ModelSerializer[MigrationRollout]):
    """A rollout, and how its chargers stand."""

    standing = serializers.SerializerMethodField()

    class Meta:
        model = MigrationRollout
        fields = [
            "id",
            "name",
            "state",
            "note",
            "plan",
            "success_threshold_percent",
            "failure_threshold_percent",
            "minimum_sample",
            "retry_budget",
            "case_deadline",
            "return_deadline",
            "family_failure_limit",
            "site_failure_limit",
            "advance_automatically",
            "overrides_forecast",
            "reason",
            "created_at",
            "ended_at",
            "retry_wanted_at",
            "standing",
        ]

    @extend_schema_field(serializers.DictField(child=serializers.IntegerField()))
    def get_standing(self, rollout: MigrationRollout) -> dict[str, int]:
        """How many of its chargers are in each state."""
        return rollouts.standing(rollout)


class RolloutListSerializer(serializers.ModelSerializer[MigrationRollout]):
    """A rollout in a list."""

    class Meta:
        model = MigrationRollout
        fields = ["id", "name", "state", "note", "plan", "created_at", "ended_at"]


class WaveSerializer(serializers.ModelSerializer[Wave]):
    """A wave and what its gate says."""

    class Meta:
        model = Wave
        fields = [
            "id",
            "rollout",
            "position",
            "cohort",
            "state",
            "concurrency",
            "per_minute",
            "per_family",
            "per_site",
            "success_threshold_percent",
            "failure_threshold_percent",
            "minimum_sample",
            "patience",
            "deadline",
            "total",
            "started_at",
            "decided_at",
            "verdict",
        ]


class BreakerSerializer(serializers.ModelSerializer[Breaker]):
    """A family or a site that is stopped, or was."""

    class Meta:
        model = Breaker
        fields = ["id", "kind", "family", "site", "rollout", "failures", "why", "opened_at", "closed_at", "closed_by"]


class RolloutFilter(Narrowing):
    """Rollouts."""

    class Meta:
        model = MigrationRollout
        fields = ["state", "plan"]


class WaveFilter(Narrowing):
    """Waves."""

    class Meta:
        model = Wave
        fields = ["rollout", "state"]


class BreakerFilter(Narrowing):
    """Breakers."""

    class Meta:
        model = Breaker
        fields = ["rollout", "family", "kind"]


class RolloutViewSet(Listing):
    """Migrations to Profile 3. One is made by a plan of the kind `migration`."""

    queryset = MigrationRollout.objects.all()
    serializer_class = RolloutSerializer
    list_serializer_class = RolloutListSerializer
    filterset_class = RolloutFilter

    def _verb(self, verb: Callable[..., Any]) -> Response:
        rollout, values = self.get_object(), self.asked(ReasonSerializer)
        self.carry_out(rollout, lambda: verb(rollout=rollout, actor=self.actor, now=timezone.now(), **values))
        return self.shown(rollout)

    @extend_schema(request=ReasonSerializer, responses=RolloutSerializer)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str) -> Response:
        """Start nobody new; whoever is on the way goes on."""
        return self._verb(rollouts.pause)

    @extend_schema(request=ReasonSerializer, responses=RolloutSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        """Go on; a wave that was paused or had failed is judged anew."""
        return self._verb(rollouts.resume)

    @extend_schema(request=ReasonSerializer, responses=RolloutSerializer)
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, pk: str) -> Response:
        """Start nobody new, for good."""
        return self._verb(rollouts.stop)

    @extend_schema(request=ReasonSerializer, responses=RolloutSerializer)
    @action(detail=True, methods=["post"], url_path="next")
    def start_next(self, request: Request, pk: str) -> Response:
        """Start the next wave; the one before must have passed."""
        return self._verb(rollouts.start_next)

    @extend_schema(request=ReasonSerializer, responses=RolloutSerializer)
    @action(detail=True, methods=["post"], url_path="retry-failed")
    def retry_failed(self, request: Request, pk: str) -> Response:
        """Try the failed and quarantined chargers anew, each with a whole retry budget, one by one from now on."""
        return self._verb(rollouts.retry_failed)


class WaveViewSet(Listing):
    """The waves of rollouts, in their order."""

    queryset = Wave.objects.all()
    serializer_class = WaveSerializer
    filterset_class = WaveFilter

    @extend_schema(request=ReasonSerializer, responses=WaveSerializer)
    @action(detail=True, methods=["post"], url_path="roll-back")
    def roll_back(self, request: Request, pk: str) -> Response:
        """Take its chargers back to Profile 2, as far as their families can."""
        wave, values = self.get_object(), self.asked(ReasonSerializer)
        self.carry_out(wave, lambda: rollouts.roll_back(wave=wave, actor=self.actor, now=timezone.now(), **values))
        return self.shown(wave)


class BreakerViewSet(Listing):
    """Families and sites that were stopped alone."""

    queryset = Breaker.objects.all()
    serializer_class = BreakerSerializer
    filterset_class = BreakerFilter

    @extend_schema(request=ReasonSerializer, responses=BreakerSerializer)
    @action(detail=True, methods=["post"])
    def close(self, request: Request, pk: str) -> Response:
        """Let its chargers be moved again; failures are counted anew."""
        breaker, values = self.get_object(), self.asked(ReasonSerializer)
        self.carry_out(breaker, lambda: breakers.close(breaker=breaker, actor=self.actor, now=timezone.now(), **values))
        return self.shown(breaker)


router = SimpleRouter(trailing_slash=False)
router.register("migration-rollouts", RolloutViewSet, basename="migration-rollouts")
router.register("migration-waves", WaveViewSet, basename="migration-waves")
router.register("migration-breakers", BreakerViewSet, basename="migration-breakers")
urlpatterns = router.urls
