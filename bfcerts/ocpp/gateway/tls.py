"""TLS contexts of the listeners, after OCPP 2.0.1 A00.FR.301-430.

TLS 1.2 and 1.3 with ECDHE and AES-GCM only, an ECDSA and an RSA certificate side by side. No session is ever resumed: a
resumed session proves no key, so it would be no evidence. Tickets are off; TLS 1.2 session ids cannot be switched off
in Python, so the door refuses a handshake that reused one.
"""

import secrets
import ssl
import tempfile
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

ServerKey = EllipticCurvePrivateKey | RSAPrivateKey

# A00.FR.318, without the suites that lack forward secrecy
SUITES_OF: Final = {
    "ecdsa": "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384",
    "rsa": "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384",
}
SUITES: Final = ":".join(SUITES_OF.values())
# A00.FR.318 names these two as well; only for stations that know no other
LEGACY_SUITES: Final = "AES128-GCM-SHA256:AES256-GCM-SHA384"

# X509_V_FLAG_NO_CHECK_TIME, which Python does not name: a failed handshake would tell us nothing of the station whose
# certificate has expired (A00.FR.430). The door checks the dates.
NO_CHECK_TIME: Final = 0x200000


@dataclass(slots=True)
class Handshake:
    """One handshake under way, and why it failed."""

    when_failed: Callable[[], None]
    failure: ssl.SSLError | None = None


UNDER_WAY: Final[ContextVar[Handshake]] = ContextVar("handshake under way")


class _PoliteSSLObject(ssl.SSLObject):
    """Lets the alert of a failed handshake out (RFC 8446 §6.2).

    The event loop drops the connection the moment a handshake raises, with the alert still unsent, and the station
    would never learn why. So the failure is noted, and the handshake seems to want more: the alert goes out, and
    whoever began the handshake ends it.
    """

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            handshake = UNDER_WAY.get()
            if handshake.failure is not None:
                raise
            handshake.failure = error
            handshake.when_failed()
            raise ssl.SSLWantReadError from error


class ListenerName(StrEnum):
    """The three listeners."""

    PROFILE2 = "profile2"
    PROFILE3 = "profile3"
    DUAL = "dual"


VERIFY_MODES: Final = {
    ListenerName.PROFILE2: ssl.CERT_NONE,
    ListenerName.PROFILE3: ssl.CERT_REQUIRED,
    ListenerName.DUAL: ssl.CERT_OPTIONAL,
}


@dataclass(frozen=True, slots=True)
class ServerCredential:
    """A private key of ours and the chain issued for it, leaf first."""

    key_type: str
    public_key_sha256: str
    chain_pem: str
    private_key: ServerKey = field(repr=False)


def make_context(
    verify_mode: ssl.VerifyMode,
    credentials: Sequence[ServerCredential],
    trust_anchors: Sequence[str],
    *,
    legacy_rsa_suites: bool = False,
) -> ssl.SSLContext:
    """A server context.

    :param trust_anchors: PEM certificates that a client certificate must chain to, and no others.
    :raises ssl.SSLError: when a chain does not belong to its key, or an anchor is no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = _PoliteSSLObject
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{SUITES}:{LEGACY_SUITES}" if legacy_rsa_suites else SUITES)
    context.options |= (
        ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    )
    context.num_tickets = 0
    context.verify_mode = verify_mode
    context.verify_flags |= ssl.VerifyFlags(NO_CHECK_TIME)
    if verify_mode != ssl.CERT_NONE and trust_anchors:
        context.load_verify_locations(cadata="\n".join(trust_anchors))
    for credential in credentials:
        _load(context, credential)
    return context


def _load(context: ssl.SSLContext, credential: ServerCredential) -> None:
    """Python loads keys from files only: the file's key is encrypted under a password that lives as long as it does."""
    password = secrets.token_bytes(32).hex()
    key = credential.private_key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode())
    )
    with tempfile.NamedTemporaryFile() as file:
        file.write(key + credential.chain_pem.encode())
        file.flush()
        context.load_cert_chain(file.name, password=password)
