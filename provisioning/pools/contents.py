"""What a mobility operator publishes for a contract: the certificates in it are read, the rest is kept as it came.

Nothing here parses XML: what a stranger sends is searched for certificates, so that no entity is expanded and no file
is opened for it. The encrypted private key is never looked at.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bfcerts.pki.certificates import CertificateError, ParsedCertificate, parse_certificate
from provisioning.pools import normal_forms
from provisioning.pools.errors import PoolError
from provisioning.pools.exi import certificates_in, looks_like_exi

LARGEST_XML: Final = 98304
"""Octets of signed contract data."""
LARGEST_EXI: Final = 17000
"""Characters of base64 of an EXI answer: what OCPP 2.1 carries. 2.0.1 carries 7500."""
LARGEST_REQUEST: Final = 11000
"""Characters of base64 of an EXI request (OCPP 2.1); 2.0.1 carries 5600."""
LARGEST_METADATA: Final = 4096
_MOST_CERTIFICATES: Final = 16
_TEXTS: Final = re.compile(rb">\s*([A-Za-z0-9+/][A-Za-z0-9+/=\s]{150,16384})<")


@dataclass(frozen=True, slots=True)
class Published:
    """What was published, checked for what it is."""

    signed_data: bytes | None = field(repr=False)
    installation_response: bytes | None = field(repr=False)
    update_response: bytes | None = field(repr=False)
    metadata: str
    contract: ParsedCertificate
    others: tuple[ParsedCertificate, ...]
    """All other certificates, of the contract's chain and of the signing service's."""

    @property
    def digest(self) -> str:
        """SHA-256 of all of it, so that a repeat is known as one."""
        whole = hashlib.sha256(self.metadata.encode())
        for part in (self.signed_data, self.installation_response, self.update_response):
            whole.update(b"\0" if part is None else b"\1" + len(part).to_bytes(8, "big") + part)
        return whole.hexdigest()

    def signers(self) -> list[ParsedCertificate]:
        """The leaf certificates beside the contract's: whoever signed the data."""
        return [one for one in self.others if not one.is_ca]


def read(body: Mapping[str, Any], emaid: str) -> Published:
    """What of OPCP's SignedContractData is stored; ready-made answers may come along or instead.

    :param body: `signedContractDataXML`, and as our addition `certificateInstallationRes` and `certificateUpdateRes`.
    :param emaid: in normal form.
    :raises PoolError: when something of it is not what it has to be.
    """
    xml = _decoded(body, "signedContractDataXML", 4 * LARGEST_XML // 3 + 4)
    installation = _exi(body, "certificateInstallationRes")
    update = _exi(body, "certificateUpdateRes")
    if xml is None and installation is None:
        raise PoolError("signedContractDataXML : must not be empty")
    if xml is not None and not xml.lstrip().startswith(b"<"):
        raise PoolError("signedContractDataXML : must be XML in base64")
    metadata = body.get("metadata") or ""
    if not isinstance(metadata, str) or len(metadata) > LARGEST_METADATA:
        raise PoolError(f"metadata : must be a text of at most {LARGEST_METADATA} characters")
    found: list[list[ParsedCertificate]] = [
        *([_certificates_in_xml(xml)] if xml is not None else []),
        *(certificates_in(part) for part in (installation, update) if part is not None),
    ]
    leaves = [_contract(certificates, emaid) for certificates in found]
    if any(one != leaves[0] for one in leaves):
        raise PoolError("The ready-made answers and the signed contract data hold different contract certificates.")
    others = dict.fromkeys(one for certificates in found for one in certificates if one != leaves[0])
    return Published(xml, installation, update, metadata, leaves[0], tuple(others))


def request_of(text: str) -> bytes:
    """The EXI of a car's request.

    :raises PoolError: in OPCP's words, for what is no EXI.
    """
    exi = _base64(text) if len(text) <= LARGEST_REQUEST else None
    if exi is None or not looks_like_exi(exi):
        raise PoolError("EXI format is invalid!")
    return exi


def _exi(body: Mapping[str, Any], name: str) -> bytes | None:
    octets = _decoded(body, name, LARGEST_EXI)
    if octets is not None and not looks_like_exi(octets):
        raise PoolError(f"{name} : must be EXI in base64")
    return octets


def _decoded(body: Mapping[str, Any], name: str, longest: int) -> bytes | None:
    value = body.get(name)
    if value in (None, ""):
        return None
    if not isinstance(value, str) or len(value) > longest:
        raise PoolError(f"{name} : must be base64 of at most {longest} characters")
    octets = _base64(value)
    if octets is None:
        raise PoolError(f"{name} : must be base64")
    return octets


def _base64(text: str) -> bytes | None:
    try:
        return base64.b64decode("".join(text.split()).encode("ascii"), validate=True) or None
    except (UnicodeEncodeError, binascii.Error):
        return None


def _certificates_in_xml(xml: bytes) -> list[ParsedCertificate]:
    found: list[ParsedCertificate] = []
    for text in _TEXTS.findall(xml):
        if len(found) >= _MOST_CERTIFICATES:
            break
        try:
            found.append(parse_certificate(b"".join(text.split())))
        except CertificateError:
            continue
    return list(dict.fromkeys(found))


def _contract(certificates: Sequence[ParsedCertificate], emaid: str) -> ParsedCertificate:
    """Of these, the contract's: its common name is the EMAID."""
    for certificate in certificates:
        if not certificate.is_ca and emaid_of(certificate) == normal_forms.emaid_key(emaid):
            return certificate
    raise PoolError(
        f"The data hold no contract certificate of {emaid}: none of their certificates has it as its common name."
    )


def emaid_of(certificate: ParsedCertificate) -> str:
    """The EMAID of a contract certificate, as EMAIDs are compared; empty where it is none."""
    if len(certificate.common_names) != 1:
        return ""
    try:
        return normal_forms.emaid_key(normal_forms.emaid(certificate.common_names[0]))
    except PoolError:
        return ""


def pcid_of(certificate: ParsedCertificate) -> str:
    """The PCID of a provisioning certificate; empty where it is none."""
    if len(certificate.common_names) != 1:
        return ""
    try:
        return normal_forms.pcid(certificate.common_names[0])
    except PoolError:
        return ""
