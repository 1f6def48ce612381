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


class Throttled(AuthorityError):  # noqa: N818  # reads as what the CA said  # what happened, not who erred
    """The authority asks for patience: the same request again after `retry_after`. It never fails a job."""

    def __init__(self, message: str, retry_after: timedelta) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Pending(AuthorityError):  # noqa: N818
    """The authority has taken the request and signs it later: the same request again after `retry_after`."""

    def __init__(self, message: str, retry_after: timedelta) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AuthorityUnavailable(AuthorityError):  # noqa: N818  # reads as what the CA said
    """No answer, or one that says "not now"; the same request may be sent again.

    :ivar sent: whether the request may have arrived, so that its outcome is unknown.
    """

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class RequestRefused(AuthorityError):  # noqa: N818  # reads as what the CA said
    """The authority will never do this; sending it again changes nothing.

    :ivar code: malformed_csr, empty_subject, subject, alternative_names, profile, validity, unknown_serial,
        unknown_reference, invalid_arguments, not_supported or failed.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class AuthorityMisconfigured(AuthorityError):  # noqa: N818  # reads as what the CA said
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

    :ivar reference: ARN, or "local:" and the trust domain, or "est:", the trust domain and the server.
    :ivar certificate_pem: the issuing CA.
    :ivar chain_pem: the issuing CA and what stands above it, up to and including the root.
    :ivar mode: GENERAL_PURPOSE, SHORT_LIVED_CERTIFICATE, DEVELOPMENT or EST.
    :ivar longest_validity: how long its certificates may last at most; None where only its own end limits them.
    :ivar usable: whether it issues now.
    :ivar status: the authority's own word for its state.
    """

    reference: str
    certificate_pem: str
    chain_pem: str
    root_pem: str
    mode: str
    longest_validity: timedelta | None
    usable: bool
    status: str


@dataclass(frozen=True)
class Candidates:
    """Everything that the authority made which may be the certificate of a request; the caller looks at each.

    :ivar references: as `CertificateAuthority.collect` takes them; empty when the request was never fulfilled.
    """

    references: tuple[str, ...]


@dataclass(frozen=True)
class StillLooking:
    """The authority's own records are not at hand yet.

    :ivar waiting_for: what is waited for, in words that begin with "the CA".
    :ivar until: when to ask again.
    """

    waiting_for: str
    until: datetime


@dataclass(frozen=True)
class CannotLook:
    """The authority's own records cannot be read as it is set up.

    :ivar why: what an operator has to set.
    """

    why: str


@dataclass(frozen=True)
class AskAgain:
    """The authority has no records that we can read, and takes the same request again.

    What it may have made of the first one is then held by nobody.

    :ivar why: what may be left behind at the authority.
    """

    why: str


Recovery = Candidates | StillLooking | CannotLook | AskAgain


class ReportBook(Protocol):
    """Remembers the last report that was asked of each authority, across processes and restarts.

    An authority that makes one report in half an hour is asked by one worker, and its answer serves all.
    """

    def last(self, authority: str) -> tuple[datetime, str] | None:
        """When the last report was asked for, and its id; the id is empty while, or because, none was answered."""

    def claim(self, authority: str, *, now: datetime, free_since: datetime) -> bool:
        """Note, before the call, that a report is asked for now; False when another was after `free_since`."""

    def note(self, authority: str, *, claimed_at: datetime, report_id: str) -> None:
        """Store the id that the claim was answered with."""

    def withdraw(self, authority: str, *, claimed_at: datetime) -> None:
        """Forget the claim: no report was made."""


class CertificateAuthority(Protocol):
    """One issuing CA of one trust domain."""

    @property
    def name(self) -> str:
        """How operators see it."""

    @property
    def trust_domain(self) -> str:
        """The one trust domain that it issues for."""

    @property
    def answers_at_once(self) -> bool:
        """Whether what was submitted can be collected at once, by whoever submitted it.

        Its reference is then stored with the certificate and not before.
        """

    @property
    def run_by_others(self) -> bool:
        """Whether it is a scheme's: it decides how long its certificates last, does not recognise a request that is
        repeated, and may be away for long without anything else having to wait for it."""

    def describe(self) -> AuthorityDescription:
        """Its certificates and state.

        :raises AuthorityError: any but RequestRefused.
        """

    def submit(self, request: SignRequest) -> str:
        """Ask for a certificate and return the reference to collect it by, of at most 255 characters.

        :raises AuthorityError: RequestRefused when this request can never be fulfilled.
        """

    def recover(self, request: SignRequest, *, since: datetime, asked_at: datetime, now: datetime) -> Recovery:
        """Find out what became of a request whose answer was lost for longer than the authority remembers its token.

        Asking again then could make a second certificate. Safe to repeat; it never waits itself.

        :param since: when the request was made up: nothing older is its certificate.
        :param asked_at: when it was sent for the first time without an answer.
        :raises AuthorityError: any but RequestRefused.
        """

    def collect(self, reference: str) -> SignedCertificate | None:
        """The certificate, or None while the authority is still at work.

        :raises AuthorityError: RequestRefused when it will never come.
        """

    def revoke(self, serial_hex: str, reason: RevocationReason) -> None:
        """Make the authority publish the revocation; one that it already knows of is a success.

        :raises AuthorityError: RequestRefused with unknown_serial when it never issued that certificate.
        """
