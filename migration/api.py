"""AuthorizationKeys over the API: set, take over, revoke; their values go in and never come out."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter

from inventory.api.base import Listing, ReasonSerializer
from inventory.api.conditional import on_version
from inventory.api.filters import Narrowing
from inventory.models import ManagedIdentity
from migration import calendar_api, case_api, recovery_api, wave_api
from migration.key_choices import FLAG_CHOICES
from migration.models import AuthorizationKey, KeyRotation
from migration.services import authorization_keys, rotation, rotation_need, secrets_of_keys

REASON = "Why; it stays in the audit history with your name."


class RotationSerializer(serializers.ModelSerializer[KeyRotation]):
    """How a generated key gets to its charger, without the key."""

    class Meta:
        model = KeyRotation
        fields = [
            "channel",
            "stage",
            "deliveries",
            "resets",
            "may_be_stored",
            "started_at",
            "stored_at",
            "connect_by",
            "give_up_at",
            "unconfirmed_at",
            "ended_at",
            "detail",
        ]


class KeySerializer(serializers.ModelSerializer[AuthorizationKey]):
    """One version of a charger's Profile 2 secret, without the secret."""

    rotation = RotationSerializer(read_only=True, allow_null=True)

    class Meta:
        model = AuthorizationKey
        fields = [
            "id",
            "identity",
            "version",
            "state",
            "source",
            "created_at",
            "activated_at",
            "last_success_at",
            "retiring_until",
            "ended_at",
            "flag",
            "flagged_at",
            "rotation",
        ]


class NewKeySerializer(serializers.Serializer[Any]):
    """A secret for a charger."""

    identity = serializers.PrimaryKeyRelatedField(queryset=ManagedIdentity.objects.all())
    secret = serializers.CharField(
        write_only=True,
        trim_whitespace=False,
        max_length=secrets_of_keys.LONGEST,
        help_text=f"{secrets_of_keys.SHORTEST} to {secrets_of_keys.LONGEST} printable ASCII characters.",
    )
    reason = serializers.CharField(max_length=1000, help_text=REASON)


class SetKeySerializer(NewKeySerializer):
    """A secret that a charger is to use from now on."""

    force = serializers.BooleanField(
        default=False,
        help_text="Also where the charger may have its present key and no other way in: it would be locked out.",
    )


class ImportedKeySerializer(NewKeySerializer):
    """A secret that a charger uses already."""

    created_at = serializers.DateTimeField(required=False, default=None, allow_null=True)
    last_success_at = serializers.DateTimeField(required=False, default=None, allow_null=True)


class RotateSerializer(serializers.Serializer[Any]):
    """Which charger gets a new key."""

    identity = serializers.PrimaryKeyRelatedField(queryset=ManagedIdentity.objects.all())
    reason = serializers.CharField(max_length=1000, help_text=REASON)


class FlagSerializer(RotateSerializer):
    """What speaks against a charger's key."""

    why = serializers.ChoiceField(choices=FLAG_CHOICES)


class RevokeKeySerializer(ReasonSerializer):
    """Whether also what the charger may need."""

    force = serializers.BooleanField(
        default=False, help_text="Also a key that the charger may have and need: it would be locked out."
    )


class KeyFilter(Narrowing):
    """AuthorizationKeys."""

    class Meta:
        model = AuthorizationKey
        fields = ["identity", "state"]


class AuthorizationKeyViewSet(Listing):
    """Every version of every charger's Profile 2 secret."""

    queryset = AuthorizationKey.objects.select_related("rotation")
    serializer_class = KeySerializer
    filterset_class = KeyFilter

    @extend_schema(request=SetKeySerializer, responses={201: KeySerializer})
    def create(self, request: Request) -> Response:
        """Set the key that a charger uses from now on; its former ones end."""
        key = authorization_keys.set_initial(actor=self.actor, **self.asked(SetKeySerializer))
        return self.made(key)

    @extend_schema(request=ImportedKeySerializer, responses={201: KeySerializer})
    @action(detail=False, methods=["post"], url_path="import", url_name="import")
    def take_over(self, request: Request) -> Response:
        """Take over a key that a charger uses already, with its age and last success; another one stands in the way."""
        key = authorization_keys.import_existing(actor=self.actor, **self.asked(ImportedKeySerializer))
        return self.made(key)

    @extend_schema(request=RotateSerializer, responses={201: KeySerializer})
    @action(detail=False, methods=["post"])
    def rotate(self, request: Request) -> Response:
        """Give a charger a new key over the air; it is active once the charger has connected with it."""
        return self.made(rotation.rotate(actor=self.actor, **self.asked(RotateSerializer)))

    @extend_schema(request=FlagSerializer, responses=KeySerializer)
    @action(detail=False, methods=["post"])
    def flag(self, request: Request) -> Response:
        """Mark a charger's active key for rotation."""
        return self.shown(rotation_need.flag(actor=self.actor, **self.asked(FlagSerializer)))

    @extend_schema(request=RevokeKeySerializer, responses=KeySerializer)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: str) -> Response:
        """Refuse a key from now on."""
        key, values = self.get_object(), self.asked(RevokeKeySerializer)
        revoked = on_version(request, key, lambda: authorization_keys.revoke(key=key, actor=self.actor, **values))
        return self.shown(revoked)


router = SimpleRouter(trailing_slash=False)
router.register("authorization-keys", AuthorizationKeyViewSet, basename="authorization-keys")
urlpatterns = [
    *router.urls,
    *recovery_api.urlpatterns,
    *wave_api.urlpatterns,
    *case_api.urlpatterns,
    *calendar_api.urlpatterns,
]
