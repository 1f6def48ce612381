"""Narrow doors, vendors' default keys and families' key paths over the API; secrets go in and never come out."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter

from inventory.api.base import Door, Listing, ReasonSerializer
from inventory.api.conditional import on_version
from inventory.api.filters import Narrowing
from inventory.choices import KeyPath
from inventory.models import ChargerFamily, ManagedIdentity
from migration.key_choices import RecoveryCause
from migration.models import KeyRotation, KnownDefaultKey, RecoveryDoor
from migration.services import key_paths, known_defaults, recovery, renewal_door, secrets_of_keys

REASON = "Why; it stays in the audit history with your name."


def _secret(about: str) -> serializers.CharField:
    limits = f"{secrets_of_keys.SHORTEST} to {secrets_of_keys.LONGEST} printable ASCII characters."
    return serializers.CharField(
        write_only=True, trim_whitespace=False, max_length=secrets_of_keys.LONGEST, help_text=f"{about}: {limits}"
    )


class RecoveryDoorSerializer(serializers.ModelSerializer[RecoveryDoor]):
    """A narrow door, without its key's secret."""

    class Meta:
        model = RecoveryDoor
        fields = [
            "id",
            "identity",
            "kind",
            "cause",
            "key",
            "certificate",
            "opened_at",
            "opened_by",
            "reason",
            "until",
            "closed_at",
            "closing",
        ]


class NewDoorSerializer(serializers.Serializer[Any]):
    """Which door, for whom and how long."""

    identity = serializers.PrimaryKeyRelatedField(queryset=ManagedIdentity.objects.all())
    cause = serializers.ChoiceField(choices=RecoveryCause.choices)
    secret = _secret("A fresh random key, which you bring to the charger")
    until = serializers.DateTimeField(help_text=f"At most {recovery.LONGEST.days} days from now.")
    although_it_works = serializers.BooleanField(
        required=False,
        help_text="For “lost”: open it although a certificate of the charger works, and it may need no door.",
    )
    reason = serializers.CharField(max_length=1000, help_text=REASON)


class NewRenewalDoorSerializer(serializers.Serializer[Any]):
    """For whom a door for a renewal, and how long."""

    identity = serializers.PrimaryKeyRelatedField(queryset=ManagedIdentity.objects.all())
    until = serializers.DateTimeField(help_text=f"At most {recovery.LONGEST.days} days from now.")
    reason = serializers.CharField(max_length=1000, help_text=REASON)


class DoorFilter(Narrowing):
    """Narrow doors."""

    class Meta:
        model = RecoveryDoor
        fields = ["identity", "kind", "cause"]


class RecoveryDoorViewSet(Listing):
    """Doors that were opened for chargers without a certificate that works."""

    queryset = RecoveryDoor.objects.all()
    serializer_class = RecoveryDoorSerializer
    filterset_class = DoorFilter

    @extend_schema(request=NewDoorSerializer, responses={201: RecoveryDoorSerializer})
    def create(self, request: Request) -> Response:
        """Let one charger in on Profile 2 with a fresh key, for a time."""
        return self.made(recovery.open_profile_2(actor=self.actor, **self.asked(NewDoorSerializer)))

    @extend_schema(request=NewRenewalDoorSerializer, responses={201: RecoveryDoorSerializer})
    @action(detail=False, methods=["post"])
    def renewal(self, request: Request) -> Response:
        """Let one charger in with its expired certificate, for a time and only to renew it."""
        return self.made(renewal_door.open_for_renewal(actor=self.actor, **self.asked(NewRenewalDoorSerializer)))

    @extend_schema(request=ReasonSerializer, responses=RecoveryDoorSerializer)
    @action(detail=True, methods=["post"])
    def close(self, request: Request, pk: str) -> Response:
        """Close a door before its end."""
        door, values = self.get_object(), self.asked(ReasonSerializer)
        return self.shown(on_version(request, door, lambda: recovery.close(door=door, actor=self.actor, **values)))


class KnownDefaultKeySerializer(serializers.ModelSerializer[KnownDefaultKey]):
    """A vendor's default key, without the key."""

    class Meta:
        model = KnownDefaultKey
        fields = ["id", "label", "created_at"]


class NewDefaultSerializer(serializers.Serializer[Any]):
    """A vendor's default key."""

    secret = _secret("The default key")
    reason = serializers.CharField(max_length=1000, help_text=REASON)

    def get_fields(self) -> dict[str, Any]:
        # A field of this name cannot be declared: the serializer has a label of its own.
        return {"label": serializers.CharField(max_length=120), **super().get_fields()}


class KnownDefaultKeyViewSet(Listing):
    """Vendors' default keys, which no charger should use."""

    queryset = KnownDefaultKey.objects.all()
    serializer_class = KnownDefaultKeySerializer

    @extend_schema(request=NewDefaultSerializer, responses={201: KnownDefaultKeySerializer})
    def create(self, request: Request) -> Response:
        """Take a default key into the list."""
        return self.made(known_defaults.add(actor=self.actor, **self.asked(NewDefaultSerializer)))

    @extend_schema(request=ReasonSerializer, responses={204: None})
    @action(detail=True, methods=["post"])
    def remove(self, request: Request, pk: str) -> Response:
        """Take a key off the list."""
        entry, values = self.get_object(), self.asked(ReasonSerializer)
        on_version(request, entry, lambda: known_defaults.remove(entry=entry, actor=self.actor, **values))
        return Response(status=status.HTTP_204_NO_CONTENT)


class ApprovalSerializer(serializers.Serializer[Any]):
    """Which way of which family is approved."""

    family = serializers.PrimaryKeyRelatedField(queryset=ChargerFamily.objects.all())
    path = serializers.ChoiceField(choices=[choice for choice in KeyPath.choices if choice[0] != KeyPath.UNAPPROVED])
    reason = serializers.CharField(max_length=1000, help_text=REASON)


class WithdrawalSerializer(serializers.Serializer[Any]):
    """Whose approval is taken back."""

    family = serializers.PrimaryKeyRelatedField(queryset=ChargerFamily.objects.all())
    reason = serializers.CharField(max_length=1000, help_text=REASON)


class KeyPathSerializer(serializers.ModelSerializer[ChargerFamily]):
    """How a family takes a new key, and who approved it."""

    class Meta:
        model = ChargerFamily
        fields = ["id", "name", "key_path", "key_path_approved_at", "key_path_approved_by"]


class KeyPathViewSet(Door):
    """Approving families' key paths; the approval itself is a property of the family."""

    queryset = KeyRotation.objects.all()
    serializer_class = KeyPathSerializer

    @extend_schema(request=ApprovalSerializer, responses=KeyPathSerializer)
    @action(detail=False, methods=["post"])
    def approve(self, request: Request) -> Response:
        """Let the chargers of a family be rotated in bulk, once one of them came through."""
        family = key_paths.approve(actor=self.actor, **self.asked(ApprovalSerializer))
        return Response(KeyPathSerializer(family).data)

    @extend_schema(request=WithdrawalSerializer, responses=KeyPathSerializer)
    @action(detail=False, methods=["post"])
    def withdraw(self, request: Request) -> Response:
        """Take an approval back."""
        family = key_paths.withdraw(actor=self.actor, **self.asked(WithdrawalSerializer))
        return Response(KeyPathSerializer(family).data)


router = SimpleRouter(trailing_slash=False)
router.register("recovery-doors", RecoveryDoorViewSet, basename="recovery-doors")
router.register("known-default-keys", KnownDefaultKeyViewSet, basename="known-default-keys")
router.register("key-paths", KeyPathViewSet, basename="key-paths")
urlpatterns = router.urls
