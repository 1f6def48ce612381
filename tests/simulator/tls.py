"""The station's side of TLS: trusts its own CSMS roots only, checks the host name, shows its certificate."""

import ssl
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

_VERSIONS = {
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}


class ResumingContext(ssl.SSLContext):
    """Offers the session of an earlier connection in each new handshake, as some TLS stacks always do."""

    session: ssl.SSLSession | None = None

    def wrap_bio(self, *arguments: Any, **keywords: Any) -> ssl.SSLObject:
        return super().wrap_bio(*arguments, **{**keywords, "session": self.session})


def client_context(
    roots: Iterable[x509.Certificate],
    *,
    chain_file: Path | None = None,
    key_file: Path | None = None,
    version: str = "",
    ciphers: str = "",
    resuming: bool = False,
) -> ssl.SSLContext:
    """TLS 1.2 and 1.3, host name checked, no other trust than `roots`; with a certificate where one is given.

    :raises ssl.SSLError: where key and certificate do not belong together or a file cannot be read.
    """
    kind = ResumingContext if resuming else ssl.SSLContext
    context = kind(ssl.PROTOCOL_TLS_CLIENT)
    trusted = b"".join(root.public_bytes(Encoding.DER) for root in roots)
    if trusted:
        context.load_verify_locations(cadata=trusted)
    if chain_file:
        context.load_cert_chain(chain_file, key_file)
    if ciphers:
        context.set_ciphers(ciphers)
    if version:
        if version == "1.1" and not ciphers:
            context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            # Naming TLS 1.1 warns that it is insecure, which is why a station that speaks it must be refused.
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = _VERSIONS[version]
    return context
