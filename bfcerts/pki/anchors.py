"""Whether a certificate can be a trust anchor at all: a CA's, valid, and of a strength that stations may rely on."""

from datetime import datetime

from asn1crypto import x509 as asn1
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from bfcerts.pki import signatures
from bfcerts.pki.certificates import ParsedCertificate
from bfcerts.pki.hostile import READ_ERRORS
from bfcerts.pki.keys import UnsupportedKeyError, load_public_key

SMALLEST_RSA_BITS = 2048
SMALLEST_EC_BITS = 224


class AnchorError(ValueError):
    """A certificate that cannot be a trust anchor.

    :ivar code: not_a_ca, not_valid, weak_key, weak_signature or not_understood.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def check_anchor(certificate: ParsedCertificate, now: datetime) -> None:
    """Refuse what cannot be a trust anchor (RFC 5280 §4.2.1.9; OCPP 2.0.1 A00.FR.502-510 for the strengths).

    :raises AnchorError: with the first fault found.
    """
    name = certificate.subject_text or certificate.fingerprint_sha256[:16]
    if not certificate.is_ca or (certificate.key_usages is not None and "key_cert_sign" not in certificate.key_usages):
        raise AnchorError(
            "not_a_ca",
            f"{name} is not a CA certificate: it may not sign others. Give the certificate of the CA that issued it.",
        )
    if certificate.not_understood:
        raise AnchorError(
            "not_understood",
            f"{name} has critical extensions that nothing here knows: {', '.join(sorted(certificate.not_understood))}.",
        )
    if not certificate.not_before <= now < certificate.not_after:
        raise AnchorError(
            "not_valid",
            f"{name} is valid from {certificate.not_before:%Y-%m-%d} to {certificate.not_after:%Y-%m-%d}, and today is "
            f"{now:%Y-%m-%d}: stations refuse it. Give one that is valid now.",
        )
    _check_strength(certificate, name)


def _check_strength(certificate: ParsedCertificate, name: str) -> None:
    encoded = asn1.Certificate.load(certificate.der)
    try:
        key = load_public_key(encoded["tbs_certificate"]["subject_public_key_info"].dump())
        weak_signature = signatures.is_weak(encoded["signature_algorithm"])
    except UnsupportedKeyError as error:
        raise AnchorError("weak_key", f"{name} has {error}; no station can verify with it.") from None
    except READ_ERRORS:
        raise AnchorError("weak_key", f"The key or the signature of {name} cannot be read.") from None
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < SMALLEST_RSA_BITS:
        raise AnchorError(
            "weak_key", f"{name} has an RSA key of {key.key_size} bits; at least {SMALLEST_RSA_BITS} are needed."
        )
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size < SMALLEST_EC_BITS:
        raise AnchorError(
            "weak_key", f"{name} has a key of {key.curve.key_size} bits; at least {SMALLEST_EC_BITS} are needed."
        )
    if weak_signature:
        raise AnchorError(
            "weak_signature", f"{name} is signed with MD5 or SHA-1, which can be forged. Give one signed with SHA-256."
        )
