"""What the X.509 extensions of a certificate say, or those that a CSR asks for (RFC 5280 §4.2)."""

from dataclasses import dataclass
from typing import Any

from asn1crypto import x509 as asn1

from bfcerts.pki import names

BASIC_CONSTRAINTS = "2.5.29.19"
KEY_USAGE = "2.5.29.15"
EXTENDED_KEY_USAGE = "2.5.29.37"
SUBJECT_ALTERNATIVE_NAME = "2.5.29.17"
CERTIFICATE_POLICIES = "2.5.29.32"

# Those whose meaning our checks take into account: RFC 5280 §4.2 asks to refuse any other that is critical.
UNDERSTOOD = frozenset(
    {BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE, SUBJECT_ALTERNATIVE_NAME, CERTIFICATE_POLICIES}
)


@dataclass(frozen=True)
class Extensions:
    """The extensions that this control plane judges by.

    :ivar is_ca: basic constraints with cA TRUE.
    :ivar path_length: how many CAs may follow below this one; None without a limit.
    :ivar key_usages: names as asn1crypto spells them ("digital_signature"); None without the extension.
    :ivar extended_key_usages: dotted OIDs.
    :ivar not_understood: dotted OIDs of critical extensions that our checks do not take into account.
    """

    is_ca: bool = False
    path_length: int | None = None
    key_usages: frozenset[str] | None = None
    extended_key_usages: tuple[str, ...] = ()
    subject_alternative_names: tuple[str, ...] = ()
    not_understood: tuple[str, ...] = ()


def read(encoded: asn1.Extensions) -> Extensions:
    """Read the extensions that we judge by, and pass over the contents of all others.

    :raises ValueError: when one is malformed or appears twice (and, for hostile bytes, whatever asn1crypto
        raises: see `bfcerts.pki.hostile.READ_ERRORS`).
    """
    values: dict[str, bytes] = {}
    critical: list[str] = []
    for extension in encoded:
        dotted = str(extension["extn_id"].dotted)
        if dotted in values:
            raise ValueError(f"extension {dotted} appears twice")
        values[dotted] = bytes(extension["extn_value"])
        if extension["critical"].native:
            critical.append(dotted)
    constraints = _load(asn1.BasicConstraints, values.get(BASIC_CONSTRAINTS))
    usages = _load(asn1.KeyUsage, values.get(KEY_USAGE))
    extended = _load(asn1.ExtKeyUsageSyntax, values.get(EXTENDED_KEY_USAGE))
    alternatives = _load(asn1.GeneralNames, values.get(SUBJECT_ALTERNATIVE_NAME))
    return Extensions(
        is_ca=bool(constraints["ca"].native) if constraints is not None else False,
        path_length=constraints["path_len_constraint"].native if constraints is not None else None,
        key_usages=frozenset(str(usage) for usage in usages.native) if usages is not None else None,
        extended_key_usages=tuple(str(usage.dotted) for usage in extended) if extended is not None else (),
        subject_alternative_names=(
            tuple(names.general_name(name) for name in alternatives) if alternatives is not None else ()
        ),
        not_understood=tuple(dotted for dotted in critical if dotted not in UNDERSTOOD),
    )


def _load(kind: Any, value: bytes | None) -> Any:
    return None if value is None else kind.load(value, strict=True)
