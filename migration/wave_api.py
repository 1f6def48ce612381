"""Migrations over the API: rollouts, waves, chargers and why they are not there yet, breakers, hours, the forecast."""

from collections.abc import Callable
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter

from inventory.api.base import Listing, ReasonSerializer
from inventory.api.filters import Narrowing
from inventory.choices import SubjectKind
from inventory.errors import InvalidInputError
from inventory.models import Cohort, ManagedIdentity
from migration.models import Blackout, Breaker, MigrationCase, MigrationRollout, MigrationWindow, Wave
from migration.services import breakers, forecast, rollouts, windows
from migration.services.why import why, whys
from migration.states import CaseState
from trustanchors.models import TrustAnchorBundle

MOST_FORECAST = 10_000
MOST_ANSWERS = 200


class WhySerializer(serializers.Serializer[Any]):
    """Why a charger is not active on Profile 3."""

    code = serializers.CharField(help_text="For programs.")
    sentence = serializers.CharField(help_text="For people.")
    what_next = serializers.CharField(help_text="What somebody can do next.")


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


CASE_FIELDS = [
    "id",
    "identity",
    "wave",
    "family",
    "site",
    "state",
    "stage",
    "tries_left",
    "failed_at",
    "last_failure",
    "deadline",
    "next_look_at",
    "record",
    "issue_job",
    "cut_over_job",
    "entered_state_at",
    "opened_at",
    "decided_by",
]


class CaseListSerializer(serializers.ModelSerializer[MigrationCase]):
    """The move of one charger, in a list. Why each is not active is at `migration-cases/why`."""

    class Meta:
        model = MigrationCase
        fields = CASE_FIELDS


class CaseSerializer(serializers.ModelSerializer[MigrationCase]):
    """The move of one charger."""

    why = serializers.SerializerMethodField()
    last_frames = serializers.ListField(child=serializers.DictField(), read_only=True)

    class Meta:
        model = MigrationCase
        fields = [*CASE_FIELDS, "why", "last_frames"]

    @extend_schema_field(WhySerializer(allow_null=True))
    def get_why(self, case: MigrationCase) -> Any:
        """The one answer; null where the charger is active on Profile 3."""
        answer = why(case.identity, timezone.now())
        return None if answer is None else WhySerializer(answer).data


class BreakerSerializer(serializers.ModelSerializer[Breaker]):
    """A family or a site that is stopped, or was."""

    class Meta:
        model = Breaker
        fields = ["id", "kind", "family", "site", "rollout", "failures", "why", "opened_at", "closed_at", "closed_by"]


class WindowSerializer(serializers.ModelSerializer[MigrationWindow]):
    """Hours in which a site may be worked at."""

    reason = serializers.CharField(max_length=1000, write_only=True, help_text="Why; it stays in the audit history.")

    class Meta:
        model = MigrationWindow
        fields = ["id", "site", "weekdays", "opens", "closes", "time_zone", "enabled", "reason"]


class BlackoutSerializer(serializers.ModelSerializer[Blackout]):
    """Days on which nothing is moved."""

    reason = serializers.CharField(max_length=1000, write_only=True, help_text="Why; it stays in the audit history.")

    class Meta:
        model = Blackout
        fields = ["id", "site", "first_day", "last_day", "time_zone", "note", "enabled", "reason"]


class AnswerSerializer(serializers.Serializer[Any]):
    """The answer for one charger, whether or not it has a case."""

    identity = serializers.IntegerField()
    identifier = serializers.CharField()
    why = WhySerializer(allow_null=True)


class LockedOutSerializer(serializers.Serializer[Any]):
    """A charger that could not reconnect after a change."""

    identity = serializers.IntegerField(source="identity.pk")
    identifier = serializers.CharField(source="identity.authoritative_identifier")
    evidence = serializers.CharField(source="sentence")


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


class CaseFilter(Narrowing):
    """Chargers on their way."""

    class Meta:
        model = MigrationCase
        fields = ["identity", "wave", "state"]


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
        """Try the failed and quarantined chargers anew, each with a whole retry budget."""
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


_ANSWERS = [
    OpenApiParameter("identity", int, description="Only this charger."),
    OpenApiParameter("wave", int, description="Only the chargers of this wave."),
    OpenApiParameter("after", int, description="Go on after the charger with this id."),
]
_CHANGE = OpenApiParameter(
    "change",
    str,
    enum=["cut_over", "anchor_withdrawal", "server_certificate"],
    required=True,
    description="What changes.",
)
_COHORT = OpenApiParameter("cohort", int, description="For cut_over: whom it is about; else everybody who waits.")
_BUNDLE = OpenApiParameter("bundle", int, description="For anchor_withdrawal: which bundle.")
_ROOT = OpenApiParameter(
    "root", str, many=True, description="For server_certificate: SHA-256 fingerprints of the roots presented then."
)


class CaseViewSet(Listing):
    """Every charger on its way to Profile 3."""

    queryset = MigrationCase.objects.select_related("identity__family")
    serializer_class = CaseSerializer
    list_serializer_class = CaseListSerializer
    filterset_class = CaseFilter

    def _verb(self, verb: Callable[..., MigrationCase]) -> Response:
        case, values = self.get_object(), self.asked(ReasonSerializer)
        self.carry_out(case, lambda: verb(case=case, actor=self.actor, now=timezone.now(), **values))
        return self.shown(case)

    @extend_schema(request=ReasonSerializer, responses=CaseSerializer)
    @action(detail=True, methods=["post"])
    def quarantine(self, request: Request, pk: str) -> Response:
        """Stop the automation of a charger; its certificate and its access stay as they are."""
        return self._verb(rollouts.quarantine)

    @extend_schema(request=ReasonSerializer, responses=CaseSerializer)
    @action(detail=True, methods=["post"])
    def release(self, request: Request, pk: str) -> Response:
        """Let a quarantined charger be tried again."""
        return self._verb(rollouts.release)

    @extend_schema(request=ReasonSerializer, responses=CaseSerializer)
    @action(detail=True, methods=["post"], url_path="except")
    def approve_exception(self, request: Request, pk: str) -> Response:
        """Approve that a quarantined charger stays as it is."""
        return self._verb(rollouts.approve_exception)

    @extend_schema(request=ReasonSerializer, responses=CaseSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Take a charger out of the migration."""
        return self._verb(rollouts.cancel)

    @extend_schema(request=ReasonSerializer, responses=CaseSerializer)
    @action(detail=True, methods=["post"], url_path="roll-back")
    def roll_back(self, request: Request, pk: str) -> Response:
        """Take a charger back to Profile 2, if its family can."""
        return self._verb(rollouts.roll_back_case)

    @extend_schema(parameters=_ANSWERS, responses=AnswerSerializer(many=True), filters=False)
    @action(detail=False, pagination_class=None, filter_backends=[])
    def why(self, request: Request) -> Response:
        """Why chargers are not active on Profile 3, in order of their ids; null where one is. Each has one answer."""
        chargers = ManagedIdentity.objects.filter(kind=SubjectKind.CHARGER).select_related("family")
        if "identity" in request.query_params:
            chargers = chargers.filter(pk=_number(request, "identity"))
        if "wave" in request.query_params:
            members = MigrationCase.objects.filter(wave_id=_number(request, "wave"))
            chargers = chargers.filter(pk__in=members.values("identity_id"))
        if "after" in request.query_params:
            chargers = chargers.filter(pk__gt=_number(request, "after"))
        asked = list(chargers.order_by("pk")[:MOST_ANSWERS])
        answers = whys(asked, timezone.now())
        found = [
            {"identity": item.pk, "identifier": item.authoritative_identifier, "why": answers[item.pk]}
            for item in asked
        ]
        return Response(AnswerSerializer(found, many=True).data)

    @extend_schema(
        parameters=[_CHANGE, _COHORT, _BUNDLE, _ROOT], responses=LockedOutSerializer(many=True), filters=False
    )
    @action(detail=False, pagination_class=None, filter_backends=[])
    def forecast(self, request: Request) -> Response:
        """Exactly which chargers could not reconnect after a change, and on what evidence."""
        locked_out = forecast.predict(_change(request), timezone.now())
        return Response(LockedOutSerializer(locked_out[:MOST_FORECAST], many=True).data)


def _number(request: Request, name: str) -> int:
    value = request.query_params.get(name, "")
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise InvalidInputError(f"{name} needs a number.")
    return int(value)


def _change(request: Request) -> forecast.Change:
    match request.query_params.get("change", "cut_over"):
        case "cut_over" if "cohort" not in request.query_params:
            waiting = MigrationCase.objects.filter(state=CaseState.PENDING).select_related("identity").order_by("pk")
            return forecast.CutOver([case.identity for case in waiting[:MOST_FORECAST]], certificates_to_come=True)
        case "cut_over":
            cohort = Cohort.objects.filter(pk=_number(request, "cohort")).first()
            if cohort is None:
                raise InvalidInputError("There is no such cohort.")
            return forecast.CutOver(list(cohort.identities()[:MOST_FORECAST]), certificates_to_come=True)
        case "anchor_withdrawal":
            bundle = TrustAnchorBundle.objects.filter(pk=_number(request, "bundle")).first()
            if bundle is None:
                raise InvalidInputError("There is no such bundle.")
            return forecast.AnchorWithdrawal(bundle)
        case "server_certificate":
            roots = frozenset(item.lower() for item in request.query_params.getlist("root") if item)
            if not roots:
                raise InvalidInputError("Give the fingerprints of the roots that will be presented as root=….")
            return forecast.ServerCertificateChange(roots)
    raise InvalidInputError("change is cut_over, anchor_withdrawal or server_certificate.")


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


class WindowViewSet(Listing):
    """Hours of the day in which chargers of a site may be moved."""

    queryset = MigrationWindow.objects.all()
    serializer_class = WindowSerializer

    def create(self, request: Request) -> Response:
        """Add hours of work."""
        values = self.asked(WindowSerializer)
        reason = values.pop("reason")
        return self.made(windows.save(entry=MigrationWindow(**values), actor=self.actor, reason=reason))


class BlackoutViewSet(Listing):
    """Days on which nothing is moved."""

    queryset = Blackout.objects.all()
    serializer_class = BlackoutSerializer

    def create(self, request: Request) -> Response:
        """Add days on which nothing is moved."""
        values = self.asked(BlackoutSerializer)
        reason = values.pop("reason")
        return self.made(windows.save(entry=Blackout(**values), actor=self.actor, reason=reason))


router = SimpleRouter(trailing_slash=False)
router.register("migration-rollouts", RolloutViewSet, basename="migration-rollouts")
router.register("migration-waves", WaveViewSet, basename="migration-waves")
router.register("migration-cases", CaseViewSet, basename="migration-cases")
router.register("migration-breakers", BreakerViewSet, basename="migration-breakers")
router.register("migration-windows", WindowViewSet, basename="migration-windows")
router.register("migration-blackouts", BlackoutViewSet, basename="migration-blackouts")
urlpatterns = router.urls
