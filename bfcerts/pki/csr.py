"""Certificate signing requests (PKCS #10, RFC 2986), read as openssl does and judged as a stranger's bytes.

Stations send version 2 requests, names with odd string types and armour of every kind; one parser,
asn1crypto's, reads them all, and the proof of possession is verified here over the bytes that were signed.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from asn1crypto import csr as asn1
from asn1crypto import x509 as asn1_x509

from bfcerts.pki import extensions, names, pem, signatures
from bfcerts.pki.hostile import READ_ERRORS
from bfcerts.pki.keys import (
    SigningPublicKey,
    UnsupportedKeyError,
    encode_public_key,
    key_algorithm_name,
    load_public_key,
    public_key_sha256,
)

LABELS = ("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")

# PKCS #9 extensionRequest, and the same under the OID that Microsoft's tools use.
_EXTENSION_REQUESTS = frozenset({"1.2.840.113549.1.9.14", "1.3.6.1.4.1.311.2.1.14"})
_HIGHEST_VERSION_FIELD = 255


class CsrError(ValueError):
    """A CSR that cannot be used.

    :ivar code: too_large, not_pem, malformed, bad_signature or unsupported_key.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class ParsedCsr:
    """A CSR whose signature proves possession of the private key; nothing else in it is trusted.

    :ivar pem: the request in RFC 7468 armour, whatever it came in.
    :ivar sha256: lower-case hex SHA-256 of the DER.
    :ivar version: 1 for every standard request; 2 for those whose version field holds 1, and so on.
    :ivar public_key_der: SubjectPublicKeyInfo.
    :ivar subject: (short name or dotted OID, value) in encoded order.
    :ivar subject_text: RFC 4514.
    :ivar subject_alternative_names: what the request asks for: "DNS:x", "IP:…", "URI:…", "EMAIL:…",
        "DIRNAME:…", "OTHER:oid".
    :ivar requests_ca: whether it asks for cA TRUE or for the right to sign certificates.
    :ivar requested_extended_key_usages: dotted OIDs.
    :ivar weak_signature: signed with MD5 or SHA-1.
    """

    pem: str
    der: bytes
    sha256: str
    version: int
    public_key: SigningPublicKey
    public_key_der: bytes
    public_key_sha256: str
    key_algorithm: str
    subject: tuple[tuple[str, str], ...]
    common_names: tuple[str, ...]
    subject_text: str
    subject_alternative_names: tuple[str, ...]
    requests_ca: bool
    requested_extended_key_usages: tuple[str, ...]
    weak_signature: bool


def parse_csr(text: str | bytes, *, max_characters: int = 5500) -> ParsedCsr:
    """Read a CSR and verify its proof of possession.

    Accepted are PEM with any line ending and under either label, bare base64 and raw DER.

    :param max_characters: the longest text read; 5500 is what OCPP 2.0.1 allows in SignCertificate.
    :raises CsrError: and nothing else, whatever the bytes.
    """
    if len(text) > max_characters:
        raise CsrError("too_large", f"The CSR has {len(text)} characters; at most {max_characters} are read.")
    try:
        der = pem.decode(text, LABELS)
    except pem.ArmourError as error:
        raise CsrError("not_pem", f"The CSR is not PEM: {error}.") from None
    try:
        return _read(der)
    except UnsupportedKeyError as error:
        raise CsrError("unsupported_key", f"The CSR holds {error}.") from None
    except READ_ERRORS as error:
        if isinstance(error, CsrError):
            raise
        raise CsrError("malformed", "The CSR is not a PKCS #10 request that can be read.") from None


def _read(der: bytes) -> ParsedCsr:
    request = asn1.CertificationRequest.load(der, strict=True)
    info = request["certification_request_info"]
    version_field = int(info["version"])
    if not 0 <= version_field <= _HIGHEST_VERSION_FIELD:
        raise CsrError("malformed", "The CSR states an impossible version.")
    relative = names.relative_names(info["subject"])
    subject = names.attributes(relative)
    wanted = _requested_extensions(info)
    public_key = load_public_key(info["subject_pk_info"].dump())
    algorithm = request["signature_algorithm"]
    if not signatures.is_valid(public_key, algorithm, bytes(request["signature"]), info.dump()):
        raise CsrError(
            "bad_signature",
            "The CSR's signature was not made by the private key that belongs to the public key in it.",
        )
    public_key_der = encode_public_key(public_key)
    return ParsedCsr(
        pem=pem.encode(der, LABELS[0]),
        der=der,
        sha256=hashlib.sha256(der).hexdigest(),
        version=version_field + 1,
        public_key=public_key,
        public_key_der=public_key_der,
        public_key_sha256=public_key_sha256(public_key_der),
        key_algorithm=key_algorithm_name(public_key),
        subject=subject,
        common_names=names.common_names(subject),
        subject_text=names.text(relative),
        subject_alternative_names=tuple(name for asked in wanted for name in asked.subject_alternative_names),
        requests_ca=any(asked.is_ca or "key_cert_sign" in (asked.key_usages or frozenset()) for asked in wanted),
        requested_extended_key_usages=tuple(
            dict.fromkeys(usage for asked in wanted for usage in asked.extended_key_usages)
        ),
        weak_signature=signatures.is_weak(algorithm),
    )


def _requested_extensions(info: Any) -> list[extensions.Extensions]:
    # Every attribute and every value counts: a request that asks twice must not hide behind its first asking.
    return [
        extensions.read(asn1_x509.Extensions.load(value.dump(), strict=True))
        for attribute in info["attributes"]
        if attribute["type"].dotted in _EXTENSION_REQUESTS
        for value in _values(attribute)
    ]


def _values(attribute: Any) -> Any:
    return asn1.SetOf.load(attribute["values"].dump(), spec=asn1_x509.Extensions)
