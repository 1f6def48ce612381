"""Looking at our own listeners as a station would: what they really present is the evidence, not what was loaded."""

import asyncio
import logging
import socket
import ssl
from typing import Final

from cryptography import x509

from bfcerts.ocpp.gateway.keys import public_key_sha256
from bfcerts.ocpp.gateway.listener import Listener
from bfcerts.ocpp.gateway.tls import SUITES_OF

PROBE_TIMEOUT_SECONDS: Final = 5.0

logger = logging.getLogger(__name__)


async def presented_key(listener: Listener, key_type: str, host: str) -> str | None:
    """Connect to a listener as a client that knows suites of one key type only, with no certificate of its own.

    :returns: SHA-256 of the public key in the certificate that was presented; None when there was none.
    """
    address = listener.own_address
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as connection:
        connection.setblocking(False)
        connection.bind((address, 0))
        own = (str(connection.getsockname()[0]), int(connection.getsockname()[1]))
        listener.probes.add(own)
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                return await _look(connection, (address, listener.port), key_type, host)
        except (OSError, ValueError) as error:
            logger.warning("listener %s does not present its %s certificate yet: %s", listener.name, key_type, error)
            return None
        finally:
            listener.probes.discard(own)


async def _look(connection: socket.socket, port: tuple[str, int], key_type: str, host: str) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(SUITES_OF[key_type])
    await asyncio.get_running_loop().sock_connect(connection, port)
    _, writer = await asyncio.open_connection(sock=connection, ssl=context, server_hostname=host)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return public_key_sha256(x509.load_der_x509_certificate(der))
