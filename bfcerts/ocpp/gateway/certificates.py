"""The gateway's own server certificates and its trust, as the lifecycle wants them; used on a database thread.

The lifecycle asks for a request, a node makes the key and hands the request in, and the chain comes back. Which of
several nodes makes the key is decided by the unique reference; all of them then serve it.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from django.db import IntegrityError, transaction

from bfcerts.ocpp.gateway import keys
from bfcerts.ocpp.gateway.tls import ServerCredential, ServerKey
from bfcerts.ocpp.models import ListenerKey
from bfcerts.ocpp.registry import ListenerRequest, listeners

KEY_TYPES: Final = ("ecdsa", "rsa")
ENSURE_EVERY: Final = timedelta(minutes=10)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Material:
    """What the listeners are made of: the newest usable credential of each key type, and the anchors for stations."""

    credentials: tuple[ServerCredential, ...]
    trust_anchors: tuple[str, ...]

    def identity(self) -> tuple[object, ...]:
        """Equal for material that makes equal contexts."""
        chains = tuple((one.public_key_sha256, one.chain_pem) for one in self.credentials)
        return (chains, self.trust_anchors)


class ServerCertificates:
    """The server certificates of one host name."""

    def __init__(self, host: str, secret: bytes) -> None:
        self._host = host
        self._secret = secret
        self._ensured_at: datetime | None = None
        self._private_keys: dict[str, ServerKey] = {}

    def refresh(self, now: datetime) -> Material:
        """Hand in the requests that are waited for, take in the chains that were issued, and say what is usable."""
        source = listeners()
        if self._ensured_at is None or now - self._ensured_at >= ENSURE_EVERY:
            source.ensure_requested(self._host, KEY_TYPES, now)
            self._ensured_at = now
        for request in source.wanted(self._host):
            self._answer(request, now)
        credentials = [self._usable(key_type) for key_type in KEY_TYPES]
        return Material(
            tuple(credential for credential in credentials if credential is not None),
            tuple(anchor for anchor in source.client_trust_anchors() if _is_certificate(anchor)),
        )

    def presented(self, public_key_sha256: str, now: datetime) -> None:
        """Tell the lifecycle, once, that the listener really presents the certificate of this key."""
        with transaction.atomic():
            first = ListenerKey.objects.filter(public_key_sha256=public_key_sha256, presented_at__isnull=True)
            if first.update(presented_at=now):
                listeners().presented(public_key_sha256, now)

    def unpresented(self) -> set[str]:
        """The public keys of this host that have a chain and were never seen to be presented."""
        waiting = ListenerKey.objects.filter(host=self._host, presented_at__isnull=True).exclude(chain_pem="")
        return set(waiting.values_list("public_key_sha256", flat=True))

    def _answer(self, request: ListenerRequest, now: datetime) -> None:
        try:
            with transaction.atomic():
                row = ListenerKey.objects.filter(request_reference=request.reference).first()
                listeners().submit_request(request.reference, (row or self._make(request, now)).csr_pem, now)
        except IntegrityError:
            logger.info("another node makes the %s key of %s", request.key_type, request.host)

    def _make(self, request: ListenerRequest, now: datetime) -> ListenerKey:
        key = keys.make_key(request.key_type)
        return ListenerKey.objects.create(
            host=request.host,
            key_type=request.key_type,
            public_key_sha256=keys.public_key_sha256(key),
            encrypted_private_key=keys.encrypt(
                key, self._secret, host=request.host, key_type=request.key_type, reference=request.reference
            ),
            csr_pem=keys.make_request(key, request.host),
            request_reference=request.reference,
            created_at=now,
        )

    def _usable(self, key_type: str) -> ServerCredential | None:
        """The newest key whose chain the lifecycle calls usable: a revoked one falls back to the one before."""
        for row in ListenerKey.objects.filter(host=self._host, key_type=key_type).order_by("-created_at")[:5]:
            chain = listeners().chain_for(row.public_key_sha256)
            if chain is None or not self._belongs(chain, row):
                continue
            if chain != row.chain_pem:
                row.chain_pem = chain
                row.save(update_fields=["chain_pem"])
            return ServerCredential(key_type, row.public_key_sha256, chain, self._private_key(row))
        return None

    def _belongs(self, chain: str, row: ListenerKey) -> bool:
        """One chain that cannot be loaded must not keep the other certificate, or the trust, from being loaded."""
        try:
            leaf = x509.load_pem_x509_certificates(chain.encode())[0]
        except ValueError:
            leaf = None
        if leaf is not None and keys.public_key_sha256(leaf) == row.public_key_sha256:
            return True
        logger.error("the chain for the %s key of %s is not for this key; it is not used", row.key_type, row.host)
        return False

    def _private_key(self, row: ListenerKey) -> ServerKey:
        key = self._private_keys.get(row.public_key_sha256)
        if key is None:
            key = keys.decrypt(
                bytes(row.encrypted_private_key),
                self._secret,
                host=row.host,
                key_type=row.key_type,
                reference=row.request_reference,
            )
            self._private_keys[row.public_key_sha256] = key
        return key


def _is_certificate(anchor: str) -> bool:
    try:
        x509.load_pem_x509_certificate(anchor.encode())
    except ValueError:
        logger.error("a trust anchor for stations is no certificate; it is not used")
        return False
    return True
