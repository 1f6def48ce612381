"""The gateway's listeners together: opened when there is a certificate, reloaded when anything changes."""

import asyncio
import logging
import ssl
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final

from bfcerts.configuration import Configuration
from bfcerts.ocpp.canonical import RefusalReason
from bfcerts.ocpp.gateway.certificates import Material, ServerCertificates
from bfcerts.ocpp.gateway.database import DatabaseThread
from bfcerts.ocpp.gateway.listener import Listener
from bfcerts.ocpp.gateway.probe import presented_key
from bfcerts.ocpp.gateway.tls import VERIFY_MODES, ListenerName, make_context

# OpenSSL keeps a TLS 1.2 session, with the peer's chain, for every handshake, and Python cannot switch that off: a
# fresh context forgets them all.
FRESH_CONTEXT_SECONDS: Final = 300.0

logger = logging.getLogger(__name__)


class ListenerError(Exception):
    """A listener cannot be opened; the text says which, why, and what to do."""


class Listeners:
    """Profile 2, Profile 3 and both on one port, each where the configuration names a port."""

    def __init__(
        self,
        configuration: Configuration,
        certificates: ServerCertificates,
        thread: DatabaseThread,
        make_protocol: Callable[[ListenerName], asyncio.Protocol],
        handshake_failed: Callable[[ListenerName, str, RefusalReason, str], None],
    ) -> None:
        self._configuration = configuration
        self._certificates = certificates
        self._thread = thread
        self._ports = {
            name: port
            for name, port in (
                (ListenerName.PROFILE2, configuration.gateway_profile2_port),
                (ListenerName.PROFILE3, configuration.gateway_profile3_port),
                (ListenerName.DUAL, configuration.gateway_dual_port),
            )
            if port is not None
        }
        self._listeners = {name: Listener(name, make_protocol, handshake_failed) for name in self._ports}
        self._loaded: tuple[object, ...] = ()
        self._loaded_at = 0.0
        self.opened = asyncio.Event()

    @property
    def ports(self) -> dict[ListenerName, int]:
        """The ports that are open."""
        return {name: listener.port for name, listener in self._listeners.items() if listener.port}

    async def refresh(self, now: datetime) -> None:
        """Bring certificates and trust up to date, open what is still closed, and tell what is presented.

        :raises ListenerError: when a port cannot be opened.
        """
        material = await self._thread.call(lambda: self._certificates.refresh(now))
        age = asyncio.get_running_loop().time() - self._loaded_at
        if material.identity() != self._loaded or age > FRESH_CONTEXT_SECONDS:
            await self._load(material)
        if material.credentials:
            self._open()
            await self._confirm(material, now)

    def close(self) -> None:
        """Accept no more connections."""
        for listener in self._listeners.values():
            listener.close()

    async def _load(self, material: Material) -> None:
        changed = material.identity() != self._loaded
        contexts = await self._thread.call(lambda: self._contexts(material))
        for name, listener in self._listeners.items():
            listener.context, listener.probe_context = contexts.get(name, (None, None))
        self._loaded = material.identity()
        self._loaded_at = asyncio.get_running_loop().time()
        if changed:
            logger.info(
                "listeners use %s server certificates and trust %s anchors for stations",
                len(material.credentials),
                len(material.trust_anchors),
            )

    def _contexts(self, material: Material) -> dict[ListenerName, tuple[ssl.SSLContext, ssl.SSLContext]]:
        if not material.credentials:
            return {}
        legacy = self._configuration.gateway_legacy_rsa_suites
        return {
            name: (
                make_context(
                    VERIFY_MODES[name], material.credentials, material.trust_anchors, legacy_rsa_suites=legacy
                ),
                make_context(ssl.CERT_NONE, material.credentials, (), legacy_rsa_suites=legacy),
            )
            for name in self._ports
        }

    def _open(self) -> None:
        for name, listener in self._listeners.items():
            if listener.port:
                continue
            try:
                listener.open(self._configuration.gateway_bind, self._ports[name])
            except OSError as error:
                raise ListenerError(
                    f"listener {name} cannot use port {self._ports[name]} of {self._configuration.gateway_bind}: "
                    f"{error.strerror}; choose another with BFCERTS_GATEWAY_{name.upper()}_PORT"
                ) from None
            logger.info("listener %s accepts on %s port %s", name, self._configuration.gateway_bind, listener.port)
        self.opened.set()

    async def _confirm(self, material: Material, now: datetime) -> None:
        """Look at our own ports as a station would: only a certificate that was seen there is reported as presented."""
        unpresented = await self._thread.call(self._certificates.unpresented)
        for credential in material.credentials:
            if credential.public_key_sha256 not in unpresented:
                continue
            host = self._configuration.gateway_host
            seen = [await presented_key(one, credential.key_type, host) for one in self._listeners.values()]
            if seen and all(key == credential.public_key_sha256 for key in seen):
                key = credential.public_key_sha256
                await self._thread.call(partial(self._certificates.presented, key, now))
