"""The boundary to a certificate authority: one small Protocol, its messages and its errors.

A request says once what is to be certified, in absolute times; handing in the same request again, after a
crash or a lost answer, must not make a second certificate. What the authority itself forgets, the caller's
intent row remembers.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from bfcerts.pki.csr import ParsedCsr
from bfcerts.pki.profiles import EndEntityProfile

LONGEST_TOKEN = 36


class RevocationReason(StrEnum):
    """Why a certificate is revoked: the reasons of RFC 5280 §5.3.1 that AWS Private CA takes."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "keyCompromise"
    CA_COMPROMISE = "cACompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn"
    AA_COMPROMISE = "aACompromise"


class AuthorityError(Exception):
    """A certificate authority did not do what it was asked; the message says why, and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Throttled(AuthorityError):  # noqa: N818  # what happened, not who erred
    """The authority asks for patience: the same request again after `retry_after`. It never fails a job."""

    def __init__(self, message: str, retry_after: timedelta) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AuthorityUnavailable(AuthorityError):  # noqa: N818
    """No answer, or one that says "not now": the outcome is unknown; the same request may be sent again."""


class RequestRefused(AuthorityError):  # noqa: N818
    """The authority will never do this; sending it again changes nothing.

    :ivar code: malformed_csr, empty_subject, subject, alternative_names, profile, validity, unknown_serial,
        unknown_reference, invalid_arguments or failed.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class AuthorityMisconfigured(AuthorityError):  # noqa: N818
    """The authority cannot be used as it is set up; an operator has to act, and no request is at fault."""


@dataclass(frozen=True)
class SignRequest:
    """What is to be certified, fixed once so that a retry is byte-identical.

    :ivar token: names this request, at most 36 characters; the same request bears the same token.
    :ivar subject: the subject to certify as (short name or dotted OID, value); None for the one in the CSR.
    :ivar dns_names: subject alternative names, for profiles that carry them.
    :ivar not_before: aware, whole seconds; `not_after` likewise.
    """

    token: str
    csr: ParsedCsr
    profile: EndEntityProfile
    subject: tuple[tuple[str, str], ...] | None
    dns_names: tuple[str, ...]
    not_before: datetime
    not_after: datetime

    def __post_init__(self) -> None:
        if not 1 <= len(self.token) <= LONGEST_TOKEN:
            raise ValueError(f"a token has 1 to {LONGEST_TOKEN} characters, not {len(self.token)}")
        for moment in (self.not_before, self.not_after):
            if moment.tzinfo is None or moment.microsecond:
                raise ValueError("validity is given in aware times of whole seconds")
        if self.not_after <= self.not_before:
            raise ValueError("a certificate ends after it begins")


@dataclass(frozen=True)
class SignedCertificate:
    """What the authority made.

    :ivar chain_pem: the issuing CA and what stands above it, up to and including the root.
    """

    certificate_pem: str
    chain_pem: str


@dataclass(frozen=True)
class AuthorityDescription:
    """An issuing CA as it is set up now.

    :ivar reference: ARN, or "local:" and the trust domain.
    :ivar certificate_pem: the issuing CA.
    :ivar chain_pem: the issuing CA and what stands above it, up to and including the root.
    :ivar mode: GENERAL_PURPOSE, SHORT_LIVED_CERTIFICATE or DEVELOPMENT.
    :ivar usable: whether it issues now.
    :ivar status: the authority's own word for its state.
    """

    reference: str
    certificate_pem: str
    chain_pem: str
    root_pem: str
    mode: str
    usable: bool
    status: str


class CertificateAuthority(Protocol):
    """One issuing CA of one trust domain."""

    @property
    def name(self) -> str:
        """How operators see it."""

    @property
    def trust_domain(self) -> str:
        """The one trust domain that it issues for."""

    def describe(self) -> AuthorityDescription:
        """Its certificates and state.

        :raises AuthorityError: any but RequestRefused.
        """

    def check_validity(self, days: float) -> None:
        """Check, when a policy is set up, that certificates of so many days can be issued at all.

        :raises AuthorityMisconfigured: when they cannot, with what to change.
        """

    def submit(self, request: SignRequest) -> str:
        """Ask for a certificate and return the reference to collect it by, of at most 255 characters.

        :raises AuthorityError: RequestRefused when this request can never be fulfilled.
        """

    def collect(self, reference: str) -> SignedCertificate | None:
        """The certificate, or None while the authority is still at work.

        :raises AuthorityError: RequestRefused when it will never come.
        """

    def revoke(self, serial_hex: str, reason: RevocationReason) -> None:
        """Make the authority publish the revocation; one that it already knows of is a success.

        :raises AuthorityError: RequestRefused with unknown_serial when it never issued that certificate.
        """
