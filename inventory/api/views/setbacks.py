"""Work that was set aside, over the API."""

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from inventory.api.base import Listing, ReasonSerializer
from inventory.api.filters import Narrowing
from inventory.api.serializers.certificates import AvailableActionSerializer
from inventory.models import Setback
from inventory.services import setback_actions


class SetbackSerializer(serializers.ModelSerializer[Setback]):
    """A piece of a recurring duty's work that failed, and waits for its next try."""

    name = serializers.SerializerMethodField(help_text="In words.")
    key = serializers.IntegerField(read_only=True, help_text="Of the row that it was done to.")

    class Meta:
        model = Setback
        fields = ["id", "name", "work", "key", "identity", "tries", "since", "until", "error"]

    def get_name(self, setback: Setback) -> str:
        return setback_actions.name_of(setback)


class SetbackFilter(Narrowing):
    """Work that was set aside."""

    class Meta:
        model = Setback
        fields = ["work", "identity"]


class SetbackViewSet(Listing):
    """What of the recurring duties failed: each piece is tried again by itself, or when somebody says so."""

    queryset = Setback.objects.all()
    serializer_class = SetbackSerializer
    filterset_class = SetbackFilter

    @extend_schema(responses=AvailableActionSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None, filter_backends=[], url_path="actions")
    def available_actions(self, request: Request, pk: str) -> Response:
        """What you may do with it now, why not, and what it would mean."""
        found = setback_actions.for_setback(self.get_object(), self.actor, timezone.now())
        return Response(AvailableActionSerializer(found, many=True).data)

    @extend_schema(request=ReasonSerializer, responses=SetbackSerializer)
    @action(detail=True, methods=["post"], url_path="try-now")
    def try_now(self, request: Request, pk: str) -> Response:
        """Have it tried again before its back-off is over."""
        setback, values = self.get_object(), self.asked(ReasonSerializer)
        self.carry_out(
            setback,
            lambda: setback_actions.try_now(setback=setback, actor=self.actor, now=timezone.now(), **values),
        )
        return self.shown(setback)
