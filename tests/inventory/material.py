"""Certificates that others issued, as they come into the inventory."""

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support import new_key


def external_certificate(
    name: str,
    now: datetime,
    days: float,
    *,
    key: ec.EllipticCurvePrivateKey | None = None,
    serial: int | None = None,
    is_ca: bool = False,
    issuer: str = "External CA",
    unit: str = "",
) -> str:
    """A certificate of another authority, valid from now on for so many days."""
    key = key or new_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(_issuer(issuer, unit))
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    return builder.sign(new_key(), hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def _issuer(organization: str, unit: str) -> x509.Name:
    units = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit)] * 3 if unit else []
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization), *units])
