"""CertificateHashData: how OCPP names an installed certificate, and how stations spell that (OCPP 2.0.1 M03, M04)."""

import hashlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from asn1crypto import x509 as asn1

from bfcerts.pki.certificates import CertificateError, ParsedCertificate, normalise_serial
from bfcerts.pki.keys import SubjectPublicKeyInfo

ALGORITHMS = MappingProxyType({"SHA256": hashlib.sha256, "SHA384": hashlib.sha384, "SHA512": hashlib.sha512})
LONGEST_SERIAL = 40
"""Characters that serialNumber holds (OCPP 2.0.1, CertificateHashDataType)."""


def certificate_hash_data(certificate: ParsedCertificate, issuer: ParsedCertificate, algorithm: str) -> dict[str, str]:
    """OCPP's CertificateHashDataType of a certificate, in lower case (RFC 6960 §4.1.1).

    issuerKeyHash is over the contents of the BIT STRING in the issuer's certificate, without the octet that
    counts unused bits.

    :param algorithm: SHA256, SHA384 or SHA512; for DeleteCertificate the one in which the station reported
        (OCPP 2.0.1 M04.FR.07).
    :raises CertificateError: unsupported_hash.
    """
    digest = ALGORITHMS.get(algorithm)
    if digest is None:
        raise CertificateError(
            "unsupported_hash",
            f"{algorithm[:40]!r} is none of {', '.join(ALGORITHMS)}, the hashes that OCPP names.",
        )
    info = SubjectPublicKeyInfo.load(asn1.Certificate.load(issuer.der).public_key.dump())
    key = bytes(info["public_key"])
    return {
        "hashAlgorithm": algorithm,
        "issuerNameHash": digest(certificate.issuer_der).hexdigest(),
        "issuerKeyHash": digest(key).hexdigest(),
        "serialNumber": certificate.serial_hex,
    }


def same_hash_data(first: Mapping[str, object], second: Mapping[str, object]) -> bool:
    """Whether two CertificateHashDataType name one certificate, whatever the case and padding of values.

    Serials are compared as the integers that they are. False, and no error, for values that a station made up.
    """
    try:
        return _comparable(first) == _comparable(second)
    except (CertificateError, KeyError):
        return False


def spellings(reported: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The hash data to delete by: the station's own words first, then with the serial spelt as others want it.

    One station finds nothing when it is asked with the bare serial that it reported itself, another nothing when it
    is asked with padding (conformance 8). The reported form is always the first.
    """
    yield dict(reported)
    bare = normalise_serial(reported["serialNumber"])
    padded = bare.zfill(len(bare) + len(bare) % 2)
    octets = f"00{padded}" if padded[0] in "89abcdef" else padded
    seen = {reported["serialNumber"]}
    for serial in (padded, padded.upper(), octets, octets.upper(), bare, bare.upper()):
        if serial not in seen and len(serial) <= LONGEST_SERIAL:
            seen.add(serial)
            yield {**reported, "serialNumber": serial}


def _comparable(data: Mapping[str, object]) -> tuple[str, str, str, str]:
    return (
        str(data["hashAlgorithm"]).upper(),
        str(data["issuerNameHash"]).lower(),
        str(data["issuerKeyHash"]).lower(),
        normalise_serial(str(data["serialNumber"])),
    )
