"""Plans: look at a bulk action, then apply exactly that; and what charger families can do."""

from typing import Any

from django.db.models import Model
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from inventory.api.base import Listing, ReasonSerializer, location
from inventory.api.filters import PlanFilter, TargetFilter
from inventory.api.serializers.plans import (
    ApplySerializer,
    CapabilitySerializer,
    DeclareSerializer,
    KindSerializer,
    NewPlanSerializer,
    PlanSerializer,
    TargetSerializer,
)
from inventory.api.views.fleet import FamilyViewSet, WithHistory
from inventory.choices import PlanState
from inventory.models import Plan, PlanTarget
from inventory.services import capabilities, plans


class TargetViewSet(Listing):
    """The targets of plans; those of one are at ?plan=…"""

    queryset = PlanTarget.objects.select_related("identity")
    serializer_class = TargetSerializer
    filterset_class = TargetFilter


class PlanViewSet(WithHistory, Listing):
    """Bulk actions, looked at before they are done."""

    queryset = Plan.objects.all()
    serializer_class = PlanSerializer
    filterset_class = PlanFilter

    @extend_schema(request=NewPlanSerializer, responses={201: PlanSerializer})
    def create(self, request: Request) -> Response:
        """Make a plan. A large one is “preparing” first; read it again until it has a digest."""
        plan = plans.ask(actor=self.actor, now=timezone.now(), **self.asked(NewPlanSerializer))
        return self.made(plan)

    @extend_schema(responses=KindSerializer(many=True), filters=False)
    @action(detail=False, pagination_class=None, filter_backends=[])
    def kinds(self, request: Request) -> Response:
        """What can be planned, and which parameters it takes."""
        return Response(KindSerializer(plans.kinds(), many=True).data)

    @extend_schema(request=ApplySerializer, responses={200: PlanSerializer, 202: PlanSerializer})
    @action(detail=True, methods=["post"])
    def apply(self, request: Request, pk: str) -> Response:
        """Do what the plan says; refused with the difference where anything has changed since.

        A large one is “applying” first, and the answer 202: read the plan again until it is “applied”, or “planned”
        with a `refusal`.
        """
        plan, values = self.get_object(), self.asked(ApplySerializer)
        applied = self.carry_out(plan, lambda: plans.apply(plan=plan, actor=self.actor, now=timezone.now(), **values))
        answer = self.shown(applied)
        if applied.state == PlanState.APPLYING:
            answer.status_code = status.HTTP_202_ACCEPTED
            answer["Location"] = location("plans", applied)["Location"]
        return answer

    @extend_schema(request=ReasonSerializer, responses=PlanSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Put away a plan that was not applied."""
        return self._turn(plans.cancel)

    @extend_schema(request=ReasonSerializer, responses=PlanSerializer)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str) -> Response:
        """Start no further target until it is resumed."""
        return self._turn(plans.pause)

    @extend_schema(request=ReasonSerializer, responses=PlanSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        """Go on with a paused plan."""
        return self._turn(plans.resume)

    @extend_schema(request=ReasonSerializer, responses=PlanSerializer)
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, pk: str) -> Response:
        """Start no further target, ever."""
        return self._turn(plans.stop, now=timezone.now())

    def _turn(self, service: Any, **options: Any) -> Response:
        plan, values = self.get_object(), self.asked(ReasonSerializer)
        turned: Model = self.carry_out(plan, lambda: service(plan=plan, actor=self.actor, **values, **options))
        return self.shown(turned)


class FamilyWithCapabilitiesViewSet(FamilyViewSet):
    """Charger families, and what they can do."""

    @extend_schema(responses=CapabilitySerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None, filter_backends=[])
    def capabilities(self, request: Request, pk: str) -> Response:
        """Its row of the capability matrix."""
        states = capabilities.state_of(self.get_object())
        return Response(CapabilitySerializer(list(states.values()), many=True).data)

    @extend_schema(request=DeclareSerializer, responses=CapabilitySerializer)
    @action(detail=True, methods=["post"])
    def declare(self, request: Request, pk: str) -> Response:
        """Say that the family can or cannot do something, and who says so."""
        family, values = self.get_object(), self.asked(DeclareSerializer)
        state = self.carry_out(
            family,
            lambda: capabilities.declare(family=family, actor=self.actor, now=timezone.now(), **values),
        )
        return Response(CapabilitySerializer(state).data)
