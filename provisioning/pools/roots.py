"""The root certificate pool: adding, taking out, listing."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from django.utils import timezone

from bfcerts.pki.anchors import AnchorError, check_anchor
from bfcerts.pki.certificates import CertificateError, parse_certificate
from inventory.actors import Actor
from inventory.errors import InvalidInputError, TransitionRefusedError
from inventory.services.command import command
from provisioning.models import PoolRoot
from provisioning.pools import changes, telling
from provisioning.pools.choices import ChangeKind, PoolEvent, RootType
from provisioning.pools.errors import NotInPoolError

NOT_FOUND: Final = "Root certificate with the given ID is not found"


def add(*, certificate: str, root_type: str, actor: Actor, reason: str, now: datetime | None = None) -> PoolRoot:
    """Take a root into the pool: chains of its type verify from now on.

    :raises InvalidInputError: for what is no self-signed CA certificate that is valid now, or is in the pool.
    """
    now = now or timezone.now()
    with command(actor, "provisioning.publish_poolroot", reason):
        if root_type not in RootType.values:
            raise InvalidInputError(f"{root_type!r} is no type of root; use one of {', '.join(RootType.values)}.")
        try:
            parsed = parse_certificate(certificate)
            check_anchor(parsed, now)
        except (CertificateError, AnchorError) as error:
            raise InvalidInputError(error.message) from None
        if not parsed.self_signed:
            raise InvalidInputError(f"{parsed.subject_text} did not sign itself, so it is no root. Give its root.")
        present = PoolRoot.objects.filter(fingerprint=parsed.fingerprint_sha256, removed_at__isnull=True).first()
        if present is not None:
            raise InvalidInputError(f"{present.subject} is in the pool already, as {present.public_id}.")
        root = PoolRoot(
            root_type=root_type,
            certificate_pem=parsed.pem,
            fingerprint=parsed.fingerprint_sha256,
            subject=parsed.subject_text,
            not_before=parsed.not_before,
            not_after=parsed.not_after,
            added_at=now,
        )
        root.save()
        changes.of_root(ChangeKind.ROOT_ADDED, root, now)
        telling.of_root(PoolEvent.ROOT_ADDED, root, now)
    return root


def remove(*, root: PoolRoot, actor: Actor, reason: str, now: datetime | None = None) -> PoolRoot:
    """Take a root out: nothing verifies under it any more, and the next cleansing takes what stands on it."""
    now = now or timezone.now()
    with command(actor, "provisioning.remove_poolroot", reason):
        current = PoolRoot.objects.select_for_update().get(pk=root.pk)
        if current.removed_at is not None:
            raise TransitionRefusedError(f"{current.subject} is not in the pool any more.")
        current.removed_at = now
        current.save()
        changes.of_root(ChangeKind.ROOT_REMOVED, current, now)
        telling.of_root(PoolEvent.ROOT_REVOKED, current, now)
    return current


def listed(root_type: str = "") -> Sequence[PoolRoot]:
    """The roots of the pool, the oldest first.

    :param root_type: mo, v2g or oem in any case; empty for all.
    """
    found = PoolRoot.objects.filter(removed_at__isnull=True).order_by("pk")
    return list(found.filter(root_type=root_type.upper()) if root_type else found)


def by_public_id(text: str) -> PoolRoot:
    """
    :raises NotInPoolError: when there is none.
    """
    try:
        wanted = uuid.UUID(text)
    except ValueError:
        raise NotInPoolError(NOT_FOUND) from None
    root = PoolRoot.objects.filter(public_id=wanted, removed_at__isnull=True).first()
    if root is None:
        raise NotInPoolError(NOT_FOUND)
    return root
