"""Chargers on their way over the API: how each stands, why it is not there yet, and who could not reconnect."""

from collections.abc import Callable
from typing import Any, ClassVar

import django_filters as filters
from django.db.models import QuerySet
from django.utils import timezone
from django_filters.utils import translate_validation
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter

from inventory.api.base import Listing, ReasonSerializer
from inventory.api.filters import Narrowing
from inventory.choices import SubjectKind
from inventory.errors import InvalidInputError
from inventory.models import Cohort, ManagedIdentity
from migration.models import MigrationCase
from migration.services import forecast, rollouts
from migration.services.why import why_of, whys
from migration.states import CaseState
from trustanchors.services import bundles, server_certificates

MOST_FORECAST = 10_000
LONGEST_ID = 18
"""Digits."""


class WhySerializer(serializers.Serializer[Any]):
    """Why a charger is not active on Profile 3."""

    code = serializers.CharField(help_text="For programs.")
    sentence = serializers.CharField(help_text="For people.")
    what_next = serializers.CharField(help_text="What somebody can do next.")


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
        """The one answer; null where the charger is active on Profile 3. An ended case says why it ended."""
        answer = why_of(case, timezone.now())
        return None if answer is None else WhySerializer(answer).data


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


class CaseFilter(Narrowing):
    """Chargers on their way."""

    class Meta:
        model = MigrationCase
        fields = ["identity", "wave", "state"]


class AnswerFilter(Narrowing):
    """Chargers, whether or not they are on their way."""

    identity = filters.NumberFilter(field_name="pk")
    wave = filters.NumberFilter(method="of_wave")

    class Meta:
        model = ManagedIdentity
        fields: ClassVar[list[str]] = []

    def of_wave(self, queryset: QuerySet[Any], name: str, value: Any) -> QuerySet[Any]:
        return queryset.filter(pk__in=MigrationCase.objects.filter(wave_id=int(value)).values("identity_id"))


_ANSWERS = [
    OpenApiParameter("identity", int, description="Only this charger."),
    OpenApiParameter("wave", int, description="Only the chargers of this wave."),
]
_CHANGE = OpenApiParameter(
    "change",
    str,
    enum=["cut_over", "anchor_withdrawal", "server_certificate"],
    required=True,
    description="What changes.",
)
_COHORT = OpenApiParameter(
    "cohort", str, description="For cut_over: whom it is about, by its name or id; else everybody who waits."
)
_IDENTITY = OpenApiParameter(
    "identity", str, description="For cut_over of one charger, by its identifier or id, with the certificate it has."
)
_BUNDLE = OpenApiParameter("bundle", str, description="For anchor_withdrawal: which bundle, by its id or its name.")
_CHAIN = OpenApiParameter(
    "chain", str, description="For server_certificate: the chain presented then in PEM, instead of root."
)
_ROOT = OpenApiParameter(
    "root", str, many=True, description="For server_certificate: SHA-256 fingerprints of the roots presented then."
)


_FORECAST = frozenset({"change", "identity", "cohort", "bundle", "root", "chain", "format"})


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
    @action(detail=False, filter_backends=[])
    def why(self, request: Request) -> Response:
        """Why chargers are not active on Profile 3; null where one is. Each has one answer.

        It names chargers, so it asks for `inventory.view_managedidentity` as `/identities` does.
        """
        self.actor.require("view_managedidentity")
        chargers = ManagedIdentity.objects.filter(kind=SubjectKind.CHARGER).select_related("family")
        narrowed = AnswerFilter(request.query_params, queryset=chargers, request=request)
        if not narrowed.is_valid():
            raise translate_validation(narrowed.errors)
        asked = self.paginate_queryset(narrowed.qs) or []
        answers = whys(asked, timezone.now())
        found = [
            {"identity": item.pk, "identifier": item.authoritative_identifier, "why": answers[item.pk]}
            for item in asked
        ]
        return self.get_paginated_response(AnswerSerializer(found, many=True).data)

    @extend_schema(
        parameters=[_CHANGE, _IDENTITY, _COHORT, _BUNDLE, _ROOT, _CHAIN],
        responses=LockedOutSerializer(many=True),
        filters=False,
    )
    @action(detail=False, pagination_class=None, filter_backends=[])
    def forecast(self, request: Request) -> Response:
        """Exactly which chargers could not reconnect after a change, and on what evidence.

        It names chargers, so it asks for `inventory.view_managedidentity` as `/identities` does.
        """
        self.actor.require("view_managedidentity")
        if unknown := set(request.query_params) - _FORECAST:
            known = ", ".join(sorted(_FORECAST))
            raise ValidationError({name: [f"There is no such parameter; use one of {known}."] for name in unknown})
        locked_out = forecast.predict(_change(request), timezone.now())
        return Response(LockedOutSerializer(locked_out[:MOST_FORECAST], many=True).data)


def _cohort(value: str) -> Cohort:
    """By its name, as in plans and in the command; or by its id, as in filters."""
    found = Cohort.objects.filter(name=value).first()
    if found is None and value.isascii() and value.isdigit() and len(value) <= LONGEST_ID:
        found = Cohort.objects.filter(pk=int(value)).first()
    if found is None:
        raise InvalidInputError(f"There is no cohort {value!r}; give its name or its id.")
    return found


def _charger(value: str) -> ManagedIdentity:
    """By its identifier, as in the command and in plans; or by its id, as in filters."""
    chargers = ManagedIdentity.objects.filter(kind=SubjectKind.CHARGER)
    found = chargers.filter(authoritative_identifier=value).first()
    if found is None and value.isascii() and value.isdigit() and len(value) <= LONGEST_ID:
        found = chargers.filter(pk=int(value)).first()
    if found is None:
        raise InvalidInputError(f"There is no charger {value!r}; give its identifier or its id.")
    return found


def _change(request: Request) -> forecast.Change:
    match request.query_params.get("change", ""):
        case "cut_over" if "identity" in request.query_params:
            return forecast.of_one(_charger(request.query_params["identity"]))
        case "cut_over" if "cohort" not in request.query_params:
            waiting = MigrationCase.objects.filter(state=CaseState.PENDING).select_related("identity").order_by("pk")
            return forecast.CutOver([case.identity for case in waiting[:MOST_FORECAST]], certificates_to_come=True)
        case "cut_over":
            cohort = _cohort(request.query_params["cohort"])
            return forecast.CutOver(list(cohort.identities()[:MOST_FORECAST]), certificates_to_come=True)
        case "anchor_withdrawal":
            return forecast.AnchorWithdrawal(bundles.named(request.query_params.get("bundle", "")))
        case "server_certificate" if request.query_params.get("chain"):
            return server_certificates.change_to(request.query_params["chain"])
        case "server_certificate":
            roots = frozenset(item.lower() for item in request.query_params.getlist("root") if item)
            if not roots:
                raise InvalidInputError("Give the fingerprints of the roots that will be presented as root=….")
            return forecast.ServerCertificateChange(roots)
    raise InvalidInputError(
        "Say what changes: change is cut_over, anchor_withdrawal or server_certificate. For cut_over name one charger "
        "as identity=… or a cohort as cohort=…, else it is about everybody who waits; the others need bundle=…, and "
        "root=… or chain=…."
    )


router = SimpleRouter(trailing_slash=False)
router.register("migration-cases", CaseViewSet, basename="migration-cases")
urlpatterns = router.urls
