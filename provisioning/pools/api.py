"""The pools over the API: all that the console can do with them. Secrets go in, and nothing encrypted comes out."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter

from inventory.api.base import Listing, ReasonSerializer
from inventory.api.filters import Narrowing
from provisioning.models import (
    PoolChange,
    PoolContract,
    PoolCredential,
    PoolIdentifier,
    PoolNode,
    PoolProvisioningCertificate,
    PoolPush,
    PoolRoot,
    PoolWebhook,
)
from provisioning.pools import contracts, credentials, nodes, provisioning_certificates, pushes, roots, webhooks
from provisioning.pools.choices import PoolRole, PoolScope, RootType

REASON = "Why; it stays in the audit history with your name."


class PoolIdentifierSerializer(serializers.ModelSerializer[PoolIdentifier]):
    """An identifier of a node, and who confirmed it on whose word."""

    class Meta:
        model = PoolIdentifier
        fields = ["kind", "value", "issuing_authority", "confirmed_at", "confirmed_by", "reason", "ended_at"]


class PoolNodeSerializer(serializers.ModelSerializer[PoolNode]):
    """A company in a role."""

    identifiers = PoolIdentifierSerializer(many=True, read_only=True)

    class Meta:
        model = PoolNode
        fields = ["id", "name", "role", "requests_per_second", "opened_at", "closed_at", "identifiers"]


class NewPoolNodeSerializer(serializers.Serializer[Any]):
    """Which company, and what was confirmed to be its."""

    name = serializers.CharField(max_length=120)
    role = serializers.ChoiceField(choices=PoolRole.choices)
    identifiers = serializers.ListField(child=serializers.CharField(max_length=10), required=False, max_length=100)
    issuing_authority = serializers.CharField(max_length=200, required=False, default="")
    requests_per_second = serializers.FloatField(required=False, default=20.0)
    reason = serializers.CharField(max_length=1000, help_text=REASON)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs.setdefault("identifiers", [])
        return attrs


class EndedIdentifierSerializer(ReasonSerializer):
    """Which identifier."""

    value = serializers.CharField(max_length=10)


class ConfirmedIdentifierSerializer(EndedIdentifierSerializer):
    """Which identifier, on whose word."""

    issuing_authority = serializers.CharField(max_length=200)


class PoolCredentialSerializer(serializers.ModelSerializer[PoolCredential]):
    """A credential, without what is secret of it."""

    class Meta:
        model = PoolCredential
        fields = [
            "id",
            "node",
            "kind",
            "label",
            "scopes",
            "created_at",
            "expires_at",
            "revoked_at",
            "last_used_at",
        ]
        extra_kwargs = {"kind": {"help_text": "token or certificate."}}


class _NewCredentialSerializer(serializers.Serializer[Any]):
    node = serializers.PrimaryKeyRelatedField(queryset=PoolNode.objects.all())
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=PoolScope.choices), required=False, help_text="All where none is given."
    )
    reason = serializers.CharField(max_length=1000, help_text=REASON)

    def get_fields(self) -> dict[str, Any]:
        # A field of this name cannot be declared: the serializer has a label of its own.
        return {"label": serializers.CharField(max_length=120), **super().get_fields()}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs.setdefault("scopes", PoolScope.values)
        return attrs


class NewPoolTokenSerializer(_NewCredentialSerializer):
    """A token for a node's program."""

    token = serializers.CharField(
        write_only=True,
        trim_whitespace=False,
        max_length=credentials.LONGEST,
        help_text=f"A fresh random one, {credentials.SHORTEST} to {credentials.LONGEST} printable ASCII characters.",
    )
    expires_at = serializers.DateTimeField(help_text=f"At most {credentials.LONGEST_LIFE.days} days from now.")


class NewPoolClientCertificateSerializer(_NewCredentialSerializer):
    """A client certificate of a node's program."""

    certificate_pem = serializers.CharField(max_length=65536)


class PoolRootSerializer(serializers.ModelSerializer[PoolRoot]):
    """A root."""

    class Meta:
        model = PoolRoot
        fields = [
            "id",
            "public_id",
            "root_type",
            "subject",
            "fingerprint",
            "not_before",
            "not_after",
            "added_at",
            "removed_at",
        ]


class NewPoolRootSerializer(ReasonSerializer):
    """A root, and for which chains it is one."""

    certificate = serializers.CharField(max_length=65536, help_text="PEM, or DER in base64.")
    root_type = serializers.ChoiceField(choices=RootType.choices)


class PoolProvisioningCertificateSerializer(serializers.ModelSerializer[PoolProvisioningCertificate]):
    """A vehicle's provisioning certificate."""

    class Meta:
        model = PoolProvisioningCertificate
        fields = [
            "id",
            "pcid",
            "node",
            "namespace",
            "fingerprint",
            "serial_number",
            "not_before",
            "not_after",
            "root",
            "previous_pcid",
            "published_at",
            "updated_at",
            "revoked_at",
        ]


class PoolContractSerializer(serializers.ModelSerializer[PoolContract]):
    """A contract, without what is encrypted in it."""

    class Meta:
        model = PoolContract
        fields = [
            "id",
            "emaid",
            "provisioning_certificate",
            "node",
            "namespace",
            "is_default",
            "fingerprint",
            "serial_number",
            "not_before",
            "not_after",
            "root",
            "signer_root",
            "published_at",
            "updated_at",
            "revoked_at",
            "orphaned_at",
        ]


class PoolWebhookSerializer(serializers.ModelSerializer[PoolWebhook]):
    """A webhook, without its secret."""

    class Meta:
        model = PoolWebhook
        fields = [
            "id",
            "public_id",
            "node",
            "url",
            "events",
            "description",
            "enabled",
            "created_at",
            "removed_at",
            "failures",
            "paused_until",
        ]


class PoolPushSerializer(serializers.ModelSerializer[PoolPush]):
    """One event for one webhook."""

    class Meta:
        model = PoolPush
        fields = [
            "id",
            "event_id",
            "webhook",
            "event_type",
            "pcid",
            "emaid",
            "state",
            "attempts",
            "status",
            "detail",
            "created_at",
            "next_run_at",
            "ended_at",
        ]


class PoolChangeSerializer(serializers.ModelSerializer[PoolChange]):
    """What became of something in the pools."""

    class Meta:
        model = PoolChange
        fields = [
            "id",
            "kind",
            "at",
            "actor",
            "reason",
            "correlation_id",
            "node",
            "pcid",
            "emaid",
            "namespace",
            "fingerprint",
            "not_after",
        ]


def _narrowing(of: Any, *names: str) -> type[Narrowing]:
    meta = type("Meta", (), {"model": of, "fields": list(names)})
    return type(f"{of.__name__}Filter", (Narrowing,), {"Meta": meta, "__doc__": f"{of.__name__}."})


class PoolNodeViewSet(Listing):
    """The companies in the pools."""

    queryset = PoolNode.objects.prefetch_related("identifiers")
    serializer_class = PoolNodeSerializer
    filterset_class = _narrowing(PoolNode, "role", "name")

    @extend_schema(request=NewPoolNodeSerializer, responses={201: PoolNodeSerializer})
    def create(self, request: Request) -> Response:
        """Open a company's node: say that whoever gives out its identifiers has confirmed them."""
        return self.made(nodes.open_node(actor=self.actor, **self.asked(NewPoolNodeSerializer)))

    @extend_schema(request=ConfirmedIdentifierSerializer, responses=PoolNodeSerializer)
    @action(detail=True, methods=["post"], url_path="confirm-identifier")
    def confirm_identifier(self, request: Request, pk: str) -> Response:
        """Say that a further identifier is this company's."""
        node, values = self.get_object(), self.asked(ConfirmedIdentifierSerializer)
        self.carry_out(node, lambda: nodes.confirm_identifier(node=node, actor=self.actor, **values))
        return self.shown(node)

    @extend_schema(request=EndedIdentifierSerializer, responses=PoolNodeSerializer)
    @action(detail=True, methods=["post"], url_path="end-identifier")
    def end_identifier(self, request: Request, pk: str) -> Response:
        """Take an identifier from a company."""
        node, values = self.get_object(), self.asked(EndedIdentifierSerializer)
        self.carry_out(node, lambda: nodes.end_identifier(node=node, actor=self.actor, **values))
        return self.shown(node)

    @extend_schema(request=ReasonSerializer, responses=PoolNodeSerializer)
    @action(detail=True, methods=["post"])
    def close(self, request: Request, pk: str) -> Response:
        """Close a node with all that it has."""
        node, values = self.get_object(), self.asked(ReasonSerializer)
        return self.shown(self.carry_out(node, lambda: nodes.close_node(node=node, actor=self.actor, **values)))


class PoolCredentialViewSet(Listing):
    """By what programs of the nodes are known."""

    queryset = PoolCredential.objects.all()
    serializer_class = PoolCredentialSerializer
    filterset_class = _narrowing(PoolCredential, "node", "kind")

    @extend_schema(request=NewPoolTokenSerializer, responses={201: PoolCredentialSerializer})
    def create(self, request: Request) -> Response:
        """Let a program in that shows this token. It is stored as a digest, and no answer holds it."""
        return self.made(credentials.give_token(actor=self.actor, **self.asked(NewPoolTokenSerializer)))

    @extend_schema(request=NewPoolClientCertificateSerializer, responses={201: PoolCredentialSerializer})
    @action(detail=False, methods=["post"])
    def certificate(self, request: Request) -> Response:
        """Let a program in that shows this certificate in its TLS handshake."""
        values = self.asked(NewPoolClientCertificateSerializer)
        return self.made(credentials.give_certificate(actor=self.actor, **values))

    @extend_schema(request=ReasonSerializer, responses=PoolCredentialSerializer)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: str) -> Response:
        """Refuse a credential from now on."""
        credential, values = self.get_object(), self.asked(ReasonSerializer)
        revoked = self.carry_out(
            credential, lambda: credentials.revoke(credential=credential, actor=self.actor, **values)
        )
        return self.shown(revoked)


class PoolRootViewSet(Listing):
    """The root certificate pool."""

    queryset = PoolRoot.objects.all()
    serializer_class = PoolRootSerializer
    filterset_class = _narrowing(PoolRoot, "root_type", "fingerprint")

    @extend_schema(request=NewPoolRootSerializer, responses={201: PoolRootSerializer})
    def create(self, request: Request) -> Response:
        """Take a root into the pool."""
        return self.made(roots.add(actor=self.actor, **self.asked(NewPoolRootSerializer)))

    @extend_schema(request=ReasonSerializer, responses=PoolRootSerializer)
    @action(detail=True, methods=["post"])
    def remove(self, request: Request, pk: str) -> Response:
        """Take a root out of the pool."""
        root, values = self.get_object(), self.asked(ReasonSerializer)
        return self.shown(self.carry_out(root, lambda: roots.remove(root=root, actor=self.actor, **values)))


class PoolProvisioningCertificateViewSet(Listing):
    """The provisioning certificate pool."""

    queryset = PoolProvisioningCertificate.objects.defer("vehicle_certificate_pem", "sub_ca1_pem", "sub_ca2_pem")
    serializer_class = PoolProvisioningCertificateSerializer
    filterset_class = _narrowing(PoolProvisioningCertificate, "pcid", "node", "fingerprint")

    @extend_schema(request=ReasonSerializer, responses={204: None})
    @action(detail=True, methods=["post"])
    def remove(self, request: Request, pk: str) -> Response:
        """Delete a provisioning certificate with its contracts."""
        found, values = self.get_object(), self.asked(ReasonSerializer)
        self.carry_out(
            found,
            lambda: provisioning_certificates.remove(certificate=found, actor=self.actor, now=timezone.now(), **values),
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class PoolContractViewSet(Listing):
    """The contract certificate pool."""

    queryset = PoolContract.objects.all()
    serializer_class = PoolContractSerializer
    filterset_class = _narrowing(
        PoolContract, "emaid_key", "provisioning_certificate", "node", "fingerprint", "namespace"
    )
    unlisted_fields = ("certificate_pem", "metadata")

    @extend_schema(request=ReasonSerializer, responses=PoolContractSerializer)
    @action(detail=True, methods=["post"])
    def block(self, request: Request, pk: str) -> Response:
        """Say that a contract certificate is revoked: it is given to no car from now on."""
        found, values = self.get_object(), self.asked(ReasonSerializer)
        blocked = self.carry_out(
            found, lambda: contracts.block(contract=found, actor=self.actor, now=timezone.now(), **values)
        )
        return self.shown(blocked)

    @extend_schema(request=ReasonSerializer, responses={204: None})
    @action(detail=True, methods=["post"])
    def remove(self, request: Request, pk: str) -> Response:
        """Delete a contract, for every edition of ISO 15118."""
        found, values = self.get_object(), self.asked(ReasonSerializer)
        self.carry_out(found, lambda: contracts.remove(contract=found, actor=self.actor, now=timezone.now(), **values))
        return Response(status=status.HTTP_204_NO_CONTENT)


class PoolWebhookViewSet(Listing):
    """Addresses that are told of changes. Their nodes enter them over OPCP."""

    queryset = PoolWebhook.objects.defer("sealed_secret")
    serializer_class = PoolWebhookSerializer
    filterset_class = _narrowing(PoolWebhook, "node", "enabled")

    @extend_schema(request=ReasonSerializer, responses=PoolWebhookSerializer)
    @action(detail=True, methods=["post"])
    def enable(self, request: Request, pk: str) -> Response:
        """Switch a webhook on."""
        return self._switch(enabled=True)

    @extend_schema(request=ReasonSerializer, responses=PoolWebhookSerializer)
    @action(detail=True, methods=["post"])
    def disable(self, request: Request, pk: str) -> Response:
        """Switch a webhook off; what waits for it goes on waiting."""
        return self._switch(enabled=False)

    def _switch(self, *, enabled: bool) -> Response:
        found, values = self.get_object(), self.asked(ReasonSerializer)
        changed = self.carry_out(
            found, lambda: webhooks.switch(webhook=found, enabled=enabled, actor=self.actor, **values)
        )
        return self.shown(changed)


class PoolPushViewSet(Listing):
    """What webhooks were told, will be told, or were not told in the end."""

    queryset = PoolPush.objects.defer("body")
    serializer_class = PoolPushSerializer
    filterset_class = _narrowing(PoolPush, "webhook", "state", "pcid", "emaid")

    @extend_schema(request=ReasonSerializer, responses=PoolPushSerializer)
    @action(detail=True, methods=["post"], url_path="send-again")
    def send_again(self, request: Request, pk: str) -> Response:
        """Send a push again that was given up."""
        found, values = self.get_object(), self.asked(ReasonSerializer)
        return self.shown(self.carry_out(found, lambda: pushes.send_again(push=found, actor=self.actor, **values)))


class PoolChangeViewSet(Listing):
    """What became of everything in the pools."""

    queryset = PoolChange.objects.all()
    serializer_class = PoolChangeSerializer
    filterset_class = _narrowing(PoolChange, "kind", "pcid", "emaid")


router = SimpleRouter(trailing_slash=False)
router.register("pool-nodes", PoolNodeViewSet, basename="pool-nodes")
router.register("pool-credentials", PoolCredentialViewSet, basename="pool-credentials")
router.register("pool-roots", PoolRootViewSet, basename="pool-roots")
router.register(
    "pool-provisioning-certificates", PoolProvisioningCertificateViewSet, basename="pool-provisioning-certificates"
)
router.register("pool-contracts", PoolContractViewSet, basename="pool-contracts")
router.register("pool-webhooks", PoolWebhookViewSet, basename="pool-webhooks")
router.register("pool-pushes", PoolPushViewSet, basename="pool-pushes")
router.register("pool-changes", PoolChangeViewSet, basename="pool-changes")
urlpatterns = router.urls
