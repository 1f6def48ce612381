"""How to make one of everything in the pools, for the tests that every model of the doors inherits."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from uuid import uuid4

from django.db.models import Model

from inventory.audit import attributed
from provisioning.models import (
    PoolChange,
    PoolContract,
    PoolCredential,
    PoolNode,
    PoolProvisioningCertificate,
    PoolPush,
    PoolRoot,
    PoolWebhook,
)
from provisioning.pools import credentials, nodes, roots
from provisioning.pools.choices import ChangeKind, IdentifierKind, Namespace, PoolEvent
from tests.pki.material import Issuer
from tests.support import OPERATOR


def _letters(count: int) -> str:
    return uuid4().hex[:count].upper()


@cache
def _leaf_pem() -> str:
    return Issuer("Given Root").issue("DE8AA001234567", usages=()).pem


def root_pem() -> str:
    return Issuer(f"Root {_letters(6)}").certificate.pem


def node() -> PoolNode:
    return nodes.open_node(
        name=f"Company {_letters(6)}",
        role="mo",
        identifiers=[_free_provider()],
        issuing_authority="Registry",
        actor=OPERATOR,
        reason="given",
    )


def _free_provider() -> str:
    while nodes.owner(IdentifierKind.PROVIDER, made := f"XX{_letters(3)}") is not None:
        continue
    return made


def credential() -> PoolCredential:
    return credentials.give_token(
        node=node(),
        token=credentials.generate(),
        label="backend",
        expires_at=datetime.now(UTC) + timedelta(days=1),
        actor=OPERATOR,
        reason="given",
    )


def root() -> PoolRoot:
    return roots.add(certificate=root_pem(), root_type="MO", actor=OPERATOR, reason="given")


def vehicle() -> PoolProvisioningCertificate:
    now = datetime.now(UTC)
    return PoolProvisioningCertificate.objects.create(
        pcid=f"WVW{_letters(14)}",
        node=node(),
        namespace=Namespace.ISO_2,
        vehicle_certificate_pem=_leaf_pem(),
        sub_ca1_pem=_leaf_pem(),
        root=root(),
        fingerprint=uuid4().hex * 2,
        public_key_sha256=uuid4().hex * 2,
        serial_number="1",
        not_before=now,
        not_after=now + timedelta(days=100),
        published_at=now,
        updated_at=now,
    )


def contract() -> PoolContract:
    of, now = vehicle(), datetime.now(UTC)
    key = f"DE8AA{_letters(9)}"
    return PoolContract.objects.create(
        provisioning_certificate=of,
        node=of.node,
        emaid=key,
        emaid_key=key,
        namespace=Namespace.ISO_2,
        is_default=True,
        certificate_pem=_leaf_pem(),
        root=of.root,
        vehicle_key_sha256=of.public_key_sha256,
        installation_response=b"\x80\x98secret",
        content_sha256=uuid4().hex * 2,
        fingerprint=uuid4().hex * 2,
        serial_number="1",
        not_before=now,
        not_after=now + timedelta(days=100),
        published_at=now,
        updated_at=now,
    )


def webhook() -> PoolWebhook:
    made = PoolWebhook(
        node=node(),
        url=f"https://events.example/{uuid4().hex}",
        events=[PoolEvent.ROOT_ADDED],
        sealed_secret=b"sealed",
        created_at=datetime.now(UTC),
    )
    with attributed(OPERATOR, "given"):
        made.save()
    return made


def push() -> PoolPush:
    now = datetime.now(UTC)
    return PoolPush.objects.create(
        webhook=webhook(),
        event_type=PoolEvent.ROOT_ADDED,
        body=b"{}",
        created_at=now,
        next_run_at=now + timedelta(days=1),
    )


def change() -> PoolChange:
    return PoolChange.objects.create(
        kind=ChangeKind.ROOT_ADDED,
        at=datetime.now(UTC),
        actor=OPERATOR.name,
        reason="given",
        correlation_id=uuid4().hex,
        node=None,
    )


MAKERS: dict[type[Model], Callable[[], Model]] = {
    PoolNode: node,
    PoolCredential: credential,
    PoolRoot: root,
    PoolProvisioningCertificate: vehicle,
    PoolContract: contract,
    PoolWebhook: webhook,
    PoolPush: push,
    PoolChange: change,
}
