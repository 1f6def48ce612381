"""By what programs of a node are known: bearer tokens and client certificates, both stored as digests."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from django.utils import timezone

from bfcerts.pki.certificates import CertificateError, parse_certificate
from inventory.actors import Actor
from inventory.errors import InvalidInputError, TransitionRefusedError
from inventory.services.command import command
from provisioning.models import PoolCredential, PoolNode
from provisioning.pools.choices import CredentialKind, PoolScope
from provisioning.pools.nodes import locked

SHORTEST: Final = 32
LONGEST: Final = 200
LONGEST_LIFE: Final = timedelta(days=400)


def generate() -> str:
    """A new token: 256 random bits, so that a plain digest of it is as good as a slow one."""
    return secrets.token_urlsafe(32)


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def give_token(
    *,
    node: PoolNode,
    token: str,
    label: str,
    expires_at: datetime,
    actor: Actor,
    reason: str,
    scopes: Sequence[str] = PoolScope.values,
    now: datetime | None = None,
) -> PoolCredential:
    """Let a program in that shows this token; it is stored as a digest only, and nobody can read it again.

    :param token: as `generate` makes it.
    :param scopes: what it opens, of what the node's role may do.
    """
    if not SHORTEST <= len(token) <= LONGEST or not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidInputError(f"A token has {SHORTEST} to {LONGEST} printable ASCII characters, without blanks.")
    return _give(CredentialKind.TOKEN, digest_of(token), node, label, expires_at, actor, reason, scopes, now)


def give_certificate(
    *,
    node: PoolNode,
    certificate_pem: str,
    label: str,
    actor: Actor,
    reason: str,
    scopes: Sequence[str] = PoolScope.values,
    now: datetime | None = None,
) -> PoolCredential:
    """Let a program in that shows exactly this certificate in its TLS handshake, until the certificate ends."""
    try:
        certificate = parse_certificate(certificate_pem)
    except CertificateError as error:
        raise InvalidInputError(error.message) from None
    now = now or timezone.now()
    ends = min(certificate.not_after, now + LONGEST_LIFE)
    return _give(
        CredentialKind.CERTIFICATE, certificate.fingerprint_sha256, node, label, ends, actor, reason, scopes, now
    )


def revoke(*, credential: PoolCredential, actor: Actor, reason: str, now: datetime | None = None) -> PoolCredential:
    """Refuse a credential from now on."""
    with command(actor, "provisioning.revoke_poolcredential", reason):
        current = PoolCredential.objects.select_for_update().get(pk=credential.pk)
        if current.revoked_at is not None:
            raise TransitionRefusedError(f"“{current.label}” is revoked already.")
        current.revoked_at = now or timezone.now()
        current.save()
    return current


def _give(
    kind: CredentialKind,
    digest: str,
    node: PoolNode,
    label: str,
    expires_at: datetime,
    actor: Actor,
    reason: str,
    scopes: Sequence[str],
    now: datetime | None,
) -> PoolCredential:
    now = now or timezone.now()
    with command(actor, "provisioning.give_poolcredential", reason):
        if not 0 < len(label.strip()) <= 120:
            raise InvalidInputError("A credential needs a label of at most 120 characters: whose it is.")
        if not now < expires_at <= now + LONGEST_LIFE:
            raise InvalidInputError(f"A credential ends at a time that is to come, {LONGEST_LIFE.days} days at most.")
        if not scopes or (unknown := set(scopes) - set(PoolScope.values)):
            wrong = f"{', '.join(sorted(unknown))} is none of them" if scopes else "none was named"
            raise InvalidInputError(f"A credential opens at least one of {', '.join(PoolScope.values)}; {wrong}.")
        current = locked(node)
        if PoolCredential.objects.filter(digest=digest).exists():
            raise InvalidInputError("This credential was given before; make a fresh one.")
        credential = PoolCredential(
            node=current,
            kind=kind,
            label=label.strip(),
            digest=digest,
            scopes=sorted(set(scopes)),
            created_at=now,
            expires_at=expires_at,
        )
        credential.save()
    return credential
