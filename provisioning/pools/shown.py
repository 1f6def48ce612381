"""Certificates and roots as OPCP shows them; all that is informative is read from the certificate itself."""

import base64
import hashlib
from datetime import datetime
from typing import Any, Final

from asn1crypto import x509 as asn1

from bfcerts.pki.certificates import ParsedCertificate, parse_ca_certificate
from provisioning.models import PoolRoot
from provisioning.pools.chains import key_identifier
from provisioning.pools.choices import Namespace

CURVES: Final = {"EC-P256": "secp256r1", "EC-P521": "secp521r1", "ED448": "ed448"}
"""Key algorithms of our reading by the names that OPCP has for them; others have none."""


def root_as_shown(root: PoolRoot) -> dict[str, Any]:
    """As OPCP's RootCertV2."""
    parsed = parse_ca_certificate(root.certificate_pem)
    encoded = asn1.Certificate.load(parsed.der)
    identifier = encoded.key_identifier
    names = dict(parsed.subject)
    shown: dict[str, Any] = {
        "rootCertificateId": str(root.public_id),
        "distinguishedName": distinguished_name(parsed),
        "caCertificate": der_base64(parsed),
        "commonName": names.get("CN", ""),
        "rootIssuerSerialNumber": parsed.serial_hex,
        "validFrom": instant(parsed.not_before),
        "validTo": instant(parsed.not_after),
        "organizationName": names.get("O", ""),
        "rootType": root.root_type,
        "fingerprint": parsed.fingerprint_sha256,
        "fingerprintSha1": hashlib.sha1(parsed.der, usedforsecurity=False).hexdigest(),
        "xsdMsgDefNamespace": namespace_of(parsed),
    }
    if identifier:
        shown["rootAuthorityKeyIdentifier"] = base64.b64encode(bytes(identifier)).decode()
        shown["rootAuthorityKeyIdentifierHex"] = key_identifier(parsed)
    if curve := CURVES.get(parsed.key_algorithm):
        shown["signatureAlgorithm"] = curve
    return shown


def der_base64(certificate: ParsedCertificate) -> str:
    return base64.b64encode(certificate.der).decode()


def distinguished_name(certificate: ParsedCertificate) -> str:
    """As OPCP writes names: the most specific part first, and only the parts that its pattern knows."""
    order = ("CN", "DC", "O", "OU", "ST", "C")
    parts = [(name, value) for name, value in certificate.subject if name in order]
    ordered = sorted(parts, key=lambda part: order.index(part[0]))
    return ", ".join(f"{name}={value.replace(',', ' ')}" for name, value in ordered)


def namespace_of(certificate: ParsedCertificate) -> str:
    """The edition of ISO 15118 that a key is for: the second one has curves of its own."""
    return (Namespace.ISO_2 if certificate.key_algorithm == "EC-P256" else Namespace.ISO_20).value


def instant(moment: datetime) -> str:
    """A time of a certificate as RFC 3339 has it; roots of the field are valid from 1970 to 9999."""
    return f"{moment.replace(tzinfo=None).isoformat(timespec='seconds')}Z"
