"""Chains of what is published, verified to a root of the pool; what its publisher says of it counts nothing."""

from collections.abc import Sequence
from datetime import datetime

from asn1crypto import x509 as asn1

from bfcerts.pki import chains
from bfcerts.pki.certificates import CertificateError, ParsedCertificate, parse_ca_certificate, parse_certificate
from bfcerts.pki.hostile import READ_ERRORS
from provisioning.models import PoolRoot
from provisioning.pools.choices import RootType
from provisioning.pools.errors import PoolError


def read(value: object, name: str) -> ParsedCertificate:
    """A certificate that somebody sent, as DER in base64 or as PEM.

    :param name: of the field, for OPCP's sentence.
    :raises PoolError: for anything else.
    """
    try:
        if not isinstance(value, str):
            raise CertificateError("malformed", "not a text")
        return parse_certificate(value)
    except CertificateError:
        raise PoolError(f"Invalid certificate format on {name}") from None


def verified(
    leaf: ParsedCertificate, others: Sequence[ParsedCertificate], root_types: Sequence[RootType], now: datetime
) -> PoolRoot:
    """The root of the pool that a certificate's chain ends at.

    :param others: what came with it, in any order.
    :raises PoolError: when there is no such root, or the chain has a fault.
    """
    named = {one.issuer_der for one in (leaf, *others)}
    roots = {
        parsed.fingerprint_sha256: root
        for root in PoolRoot.objects.filter(removed_at__isnull=True, root_type__in=root_types)
        if (parsed := parse_ca_certificate(root.certificate_pem)).subject_der in named
    }
    anchors = [parse_ca_certificate(root.certificate_pem) for root in roots.values()]
    try:
        path = chains.verify_issued(
            leaf=leaf,
            chain=others,
            anchors=anchors,
            # What begins only later is published ahead of its time, and its chain has to hold then.
            now=max(now, leaf.not_before),
            public_key_sha256=None,
            extended_key_usages=(),
            not_after_limit=None,
        )
    except chains.ChainError as error:
        kinds = " or ".join(root_type.value for root_type in root_types)
        if error.code == "wrong_trust_domain":
            raise PoolError(
                f"No chain leads from {leaf.subject_text} to an {kinds} root of the root certificate pool. Send the "
                "CAs between them, or have the root added."
            ) from None
        raise PoolError(error.message) from None
    return roots[path[-1].fingerprint_sha256]


def key_identifier(certificate: ParsedCertificate) -> str:
    """The subject key identifier as OPCP writes it, “4f:13:…”; empty where the certificate has none."""
    try:
        value = asn1.Certificate.load(certificate.der).key_identifier
    except READ_ERRORS:
        return ""
    return bytes(value).hex(":") if value else ""
