"""Who calls the pools: known by a token or a client certificate, held to a rate, and to what is its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, NoReturn

from inventory.actors import Actor
from inventory.choices import SecurityCategory, SecuritySource, Severity
from inventory.services import rate_limits
from inventory.services.security_events import record_security_event
from provisioning.models import PoolCredential, PoolNode
from provisioning.pools import normal_forms
from provisioning.pools.choices import CredentialKind, IdentifierKind, PoolRole, PoolScope
from provisioning.pools.credentials import digest_of
from provisioning.pools.errors import NotYoursError, TooManyRequestsError, UnknownCallerError

_USE_NOTED_EVERY: Final = timedelta(hours=1)
_WRONG_PER_MINUTE: Final = 30
"""Credentials that are none, from one address, before it has to wait."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A program of a node, whose credential was checked."""

    node: PoolNode
    scopes: frozenset[str]
    identifiers: frozenset[tuple[str, str]]
    address: str

    @property
    def actor(self) -> Actor:
        """How the audit trail names it."""
        return Actor(name=f"pool:{self.node.name}"[:150])

    def has(self, kind: IdentifierKind, value: str) -> bool:
        return (kind, value) in self.identifiers

    def owns_emaid(self, emaid: str) -> bool:
        """Whether a contract is of its provider id."""
        return self.has(IdentifierKind.PROVIDER, normal_forms.provider_of(emaid))

    def owns_pcid(self, pcid: str) -> bool:
        """Whether a vehicle is of its make."""
        return self.has(IdentifierKind.WMI, normal_forms.wmi_of(pcid))

    def require(self, scope: PoolScope, roles: Sequence[PoolRole], what: str, now: datetime) -> None:
        """
        :raises NotYoursError: when its role or its credential does not allow this.
        """
        if self.node.role not in roles:
            allowed = " or ".join(role.label.lower() for role in roles)
            self.refuse(what, f"only a {allowed} may", now)
        if scope not in self.scopes:
            self.refuse(what, f"its credential is not for the {scope.label.lower()}", now)

    def refuse(self, what: str, why: str, now: datetime) -> NoReturn:
        """Refuse what is another's, and write it down; the same again within the hour is not written twice.

        :raises NotYoursError: always.
        """
        record_security_event(
            "PoolAccessRefused",
            category=SecurityCategory.AUTHENTICATION,
            severity=Severity.WARNING,
            source=SecuritySource.BROKER,
            message=f"{self.node} may not {what}: {why}.",
            now=now,
            address=self.address or None,
            dedupe_key=f"pool-refused:{self.node.pk}:{sha256(what.encode()).hexdigest()[:32]}:{now:%Y%m%d%H}",
        )
        raise NotYoursError(f"{self.node.name} may not {what}: {why}.")


def known(*, token: str, certificate_sha256: str, address: str, now: datetime) -> Caller:
    """The caller behind a bearer token, or without one behind the certificate of its TLS handshake.

    :param token: what stood in the Authorization header; empty without one.
    :param certificate_sha256: fingerprint of the client certificate that the handshake proved; empty without one.
    :raises UnknownCallerError: for a credential that is none, has ended, or whose node is closed.
    :raises TooManyRequestsError: beyond the node's rate, or after too many wrong credentials from an address.
    """
    if token:
        kind, digest = CredentialKind.TOKEN, digest_of(token)
    elif certificate_sha256:
        kind, digest = CredentialKind.CERTIFICATE, certificate_sha256
    else:
        raise UnknownCallerError("Show a credential: a token as “Authorization: Bearer …”, or a client certificate.")
    credential = PoolCredential.objects.filter(digest=digest, kind=kind).select_related("node").first()
    if credential is None:
        _wrong(address, now)
        raise UnknownCallerError("This credential is not known. Ask the administration of the pools for one.")
    if credential.revoked_at is not None or credential.expires_at <= now or credential.node.closed_at is not None:
        _tell_ended(credential, address, now)
        raise UnknownCallerError("This credential has ended. Ask the administration of the pools for another one.")
    _hold_to_rate(credential.node, now)
    if credential.last_used_at is None or credential.last_used_at <= now - _USE_NOTED_EVERY:
        # No change of meaning that the audit would have to show.
        PoolCredential.objects.filter(pk=credential.pk).update(last_used_at=now)
    identifiers = credential.node.identifiers.filter(ended_at__isnull=True).values_list("kind", "value")
    return Caller(credential.node, frozenset(credential.scopes), frozenset(identifiers), address)


def _hold_to_rate(node: PoolNode, now: datetime) -> None:
    rate = node.requests_per_second
    wait = rate_limits.take(f"pool:{node.pk}", per_second=rate, burst=max(1.0, 2 * rate), now=now)
    if wait is not None:
        raise TooManyRequestsError(
            f"{node.name} asks more than {rate:g} times a second; send this again in a moment.", wait.total_seconds()
        )


def _wrong(address: str, now: datetime) -> None:
    wait = rate_limits.take(
        f"pool-wrong:{address}", per_second=_WRONG_PER_MINUTE / 60, burst=float(_WRONG_PER_MINUTE), now=now
    )
    record_security_event(
        "PoolCredentialUnknown",
        category=SecurityCategory.AUTHENTICATION,
        severity=Severity.WARNING,
        source=SecuritySource.BROKER,
        message=f"Somebody at {address or 'an unknown address'} showed the pools a credential that is not known.",
        now=now,
        address=address or None,
        dedupe_key=f"pool-unknown:{address}:{now:%Y%m%d%H}",
    )
    if wait is not None:
        raise TooManyRequestsError(
            "Too many credentials from this address were not known; wait before the next.", wait.total_seconds()
        )


def _tell_ended(credential: PoolCredential, address: str, now: datetime) -> None:
    record_security_event(
        "PoolCredentialEnded",
        category=SecurityCategory.AUTHENTICATION,
        severity=Severity.INFO,
        source=SecuritySource.BROKER,
        message=f"“{credential.label}” of {credential.node} was shown to the pools although it has ended.",
        now=now,
        address=address or None,
        dedupe_key=f"pool-ended:{credential.pk}:{now:%Y%m%d%H}",
    )
