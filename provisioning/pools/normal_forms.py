"""Identifiers as the pools compare them, and the words in which OPCP refuses others."""

import re
from typing import Final

from bfcerts import identifiers
from bfcerts.identifiers import IdentifierError
from provisioning.pools.choices import OTHER_SPELLINGS, Namespace
from provisioning.pools.errors import PoolError

_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
KEY_LENGTH: Final = 14
LONGEST_GIVEN: Final = 64


def emaid(text: object) -> str:
    """An EMAID in capitals, without separators, with its check digit where it came with one.

    :raises PoolError: in OPCP's words.
    """
    try:
        found = identifiers.emaid(text if isinstance(text, str) else "")
    except IdentifierError:
        raise PoolError('emaid : must match "^[A-Za-z]{2}[-]?\\w{3}[-]?\\w{9}[-]?(\\w{1})?$"') from None
    return f"{found.key}{found.check_digit}"


def emaid_key(normal: str) -> str:
    """What of an EMAID is compared: live data often carries a wrong check digit, or none."""
    return normal[:KEY_LENGTH]


def pcid(text: object) -> str:
    """
    :raises PoolError: in OPCP's words.
    """
    try:
        return identifiers.pcid(text if isinstance(text, str) else "").key
    except IdentifierError:
        raise PoolError('pcid : must match "^[a-zA-Z0-9]{17,18}$"') from None


def provider_of(normal_emaid: str) -> str:
    """The provider id in an EMAID."""
    return normal_emaid[:5]


def wmi_of(normal_pcid: str) -> str:
    """The manufacturer in a PCID."""
    return normal_pcid[:3]


def namespace(text: object, *, default: bool = True) -> str:
    """The edition of ISO 15118 that a namespace names, in one spelling.

    :param default: take ISO 15118-2 where nothing was given.
    :raises PoolError: for one that is none.
    """
    if text in (None, "") and default:
        return Namespace.ISO_2.value
    spelt = OTHER_SPELLINGS.get(str(text)[:LONGEST_GIVEN], str(text)[:LONGEST_GIVEN])
    if spelt not in Namespace.values:
        raise PoolError(f"xsdMsgDefNamespace : must be one of {', '.join(Namespace.values)}")
    return str(spelt)


def fingerprint(text: str) -> str:
    """A SHA-256 fingerprint as 64 hexadecimal digits.

    :raises PoolError: for what is none. The published pattern, that of a UUID, is a fault of the documents.
    """
    bare = text[:128].replace(":", "").replace(" ", "").lower()
    if not _FINGERPRINT.fullmatch(bare):
        raise PoolError("cpsV2GRootCertificateFingerprint : must be the 64 hexadecimal digits of a SHA-256 fingerprint")
    return bare
