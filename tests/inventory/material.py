"""Certificates that others issued, as they come into the inventory, and the CA of the field that issued them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bfcerts.pki.certificates import parse_certificate
from inventory.audit import attributed
from inventory.models import IssuingAuthority
from tests.support import OPERATOR, new_key

EXTERNAL_CA = "External CA"


@cache
def key_of(issuer: str) -> ec.EllipticCurvePrivateKey:
    """The key of an authority of this name, the same for the whole run."""
    return new_key()


def external_certificate(
    name: str,
    now: datetime,
    days: float,
    *,
    key: ec.EllipticCurvePrivateKey | None = None,
    serial: int | None = None,
    is_ca: bool = False,
    issuer: str = EXTERNAL_CA,
    unit: str = "",
    subject: x509.Name | None = None,
    extensions: Sequence[x509.ExtensionType] = (),
) -> str:
    """A certificate of another authority, valid from now on for so many days."""
    key = key or new_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject or x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(_name(issuer, unit))
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key_of(issuer), hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def ca_certificate(now: datetime, *, name: str = EXTERNAL_CA, issuer: str = "", unit: str = "") -> str:
    """The certificate of a CA; its own root where no issuer is named."""
    return external_certificate(
        name,
        now,
        4000,
        key=key_of(name),
        is_ca=True,
        issuer=issuer or name,
        unit="" if issuer else unit,
        subject=_name(name, unit),
    )


def publish_external_authority(
    now: datetime, *, trust_domain: str = "charger_identity", name: str = EXTERNAL_CA, unit: str = "", **fields: object
) -> IssuingAuthority:
    """Let a CA of the field be one whose certificates we accept for a purpose, though we ask it for none."""
    known = IssuingAuthority.objects.filter(trust_domain=trust_domain, name=name).first()
    if known is not None:
        return known
    parsed = parse_certificate(ca_certificate(now, name=name, unit=unit))
    values = {
        "certificate_pem": parsed.pem,
        "chain_pem": parsed.pem,
        "root_pem": parsed.pem,
        "fingerprint": parsed.fingerprint_sha256,
        "not_after": parsed.not_after,
        "issues": False,
        "reference": f"{trust_domain}:{name}",
    }
    with attributed(OPERATOR, "test"):
        return IssuingAuthority.objects.create(trust_domain=trust_domain, name=name, **(values | fields))


def _name(organization: str, unit: str) -> x509.Name:
    units = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit)] * 3 if unit else []
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization), *units])
