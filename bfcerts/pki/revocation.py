"""A revocation as OCSP answers and CRLs tell it (RFC 5280 §5.3.1)."""

from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

UNSPECIFIED: Final = "unspecified"
ENCODED_REASONS: Final = MappingProxyType(
    {
        UNSPECIFIED: "unspecified",
        "keyCompromise": "key_compromise",
        "cACompromise": "ca_compromise",
        "affiliationChanged": "affiliation_changed",
        "superseded": "superseded",
        "cessationOfOperation": "cessation_of_operation",
        "certificateHold": "certificate_hold",
        "removeFromCRL": "remove_from_crl",
        "privilegeWithdrawn": "privilege_withdrawn",
        "aACompromise": "aa_compromise",
    }
)
"""The RFC's names of reasons, and asn1crypto's."""
REASONS_BY_ENCODED: Final = MappingProxyType({encoded: name for name, encoded in ENCODED_REASONS.items()})


@dataclass(frozen=True)
class Revocation:
    """Since when a certificate is not to be used, and why.

    :ivar moment: aware; told in whole seconds.
    :ivar reason: one of `ENCODED_REASONS`.
    """

    moment: datetime
    reason: str = UNSPECIFIED

    def __post_init__(self) -> None:
        if self.reason not in ENCODED_REASONS:
            raise ValueError(f"{self.reason[:40]!r} is no reason of RFC 5280")
        if self.moment.tzinfo is None:
            raise ValueError("a revocation has an aware time")
