"""A scheme's CA behind EST (RFC 7030): somebody else's issuing CA of one trust domain.

EST has no idempotency key, no reference to collect by, and no list of what was issued. So an answer lives in this
process until the record has it; when the process dies after it sent the request, the same CSR is sent again, which
RFC 7030 §4.2 allows, and a certificate that nobody holds the key of but the one that asked may remain at the CA. It
opens no door: only what a record has is trusted. The caller is told, so that it can say so.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TypeVar

from bfcerts.pki.authorities.base import (
    AskAgain,
    AuthorityDescription,
    AuthorityError,
    AuthorityMisconfigured,
    AuthorityUnavailable,
    Candidates,
    Pending,
    Recovery,
    RequestRefused,
    RevocationReason,
    SignedCertificate,
    SignRequest,
    Throttled,
)
from bfcerts.pki.authorities.scheme_settings import AUTHORITIES_SETTING
from bfcerts.pki.certificates import ParsedCertificate
from bfcerts.pki.chains import ChainError, order_chain, verify_issued
from bfcerts.pki.est.client import (
    EstClient,
    EstError,
    EstNotAuthorised,
    EstRefused,
    EstThrottled,
    EstUnavailable,
    WaitingUntil,
)

MODE = "EST"
_CAS_KNOWN_FOR = timedelta(hours=1)
_MOST_ANSWERS = 200
_CLOCK_DIFFERENCE = timedelta(minutes=10)
"""How far a scheme's clock may be ahead of ours: its certificates then wait here until they are valid."""
_Kept = TypeVar("_Kept")


class EstAuthority:
    """A `CertificateAuthority` of a scheme.

    :param anchors: the roots of this trust domain, and of no other.
    :param clock: the time now, aware.
    """

    def __init__(
        self,
        client: EstClient,
        trust_domain: str,
        anchors: Sequence[ParsedCertificate],
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._trust_domain = trust_domain
        self._anchors = tuple(anchors)
        self._clock = clock
        self._cas: tuple[ParsedCertificate, ...] = ()
        self._cas_at: datetime | None = None
        self._enrolled: OrderedDict[str, tuple[ParsedCertificate, ...]] = OrderedDict()
        self._answers: OrderedDict[str, SignedCertificate] = OrderedDict()

    @property
    def name(self) -> str:
        """How operators see it."""
        return f"EST at {self._client.server}"

    @property
    def answers_at_once(self) -> bool:
        """The certificate is the answer; whoever has to wait for it asks again."""
        return True

    @property
    def run_by_others(self) -> bool:
        """A scheme's."""
        return True

    @property
    def trust_domain(self) -> str:
        """The one trust domain that it issues for."""
        return self._trust_domain

    def describe(self) -> AuthorityDescription:
        """The CA that issues now, of those that the server names; see `CertificateAuthority.describe`."""
        path = self._issuing_path(self._ca_certificates())
        return AuthorityDescription(
            reference=f"est:{self._trust_domain}:{self._client.server}",
            certificate_pem=path[0].pem,
            chain_pem=_pem(path),
            root_pem=path[-1].pem,
            mode=MODE,
            longest_validity=None,
            usable=True,
            status="ACTIVE",
        )

    def submit(self, request: SignRequest) -> str:
        """Enrol; see `CertificateAuthority.submit`."""
        _check_what_est_can_say(request)
        reference = self._reference(request)
        if reference in self._answers:
            return reference
        if reference not in self._enrolled:
            # First, so that nothing but the chain's verification stands between the certificate and its record.
            self._ca_certificates()
            with_others = self._enrol(request)
            _keep(self._enrolled, reference, with_others)
        _keep(self._answers, reference, self._signed(request, self._enrolled[reference]))
        return reference

    def recover(self, request: SignRequest, *, since: datetime, asked_at: datetime, now: datetime) -> Recovery:
        """Nothing can be looked up at the server; see `CertificateAuthority.recover`."""
        if self._reference(request) in self._enrolled:
            return Candidates(())  # not lost: it is here, and is what `submit` returns
        return AskAgain(
            f"{self._client.server} may have issued a certificate of which the answer was lost; EST cannot tell"
        )

    def collect(self, reference: str) -> SignedCertificate | None:
        """What `submit` was answered, in this process; see `CertificateAuthority.collect`."""
        try:
            return self._answers[reference]
        except KeyError:
            raise RequestRefused(
                "unknown_reference",
                f"{reference[:80]!r} is no answer of {self._client.server} that is still at hand; request the "
                "certificate again.",
            ) from None

    def revoke(self, serial_hex: str, reason: RevocationReason) -> None:
        """EST cannot revoke; see `CertificateAuthority.revoke`."""
        raise RequestRefused(
            "not_supported",
            f"{self._client.server} takes no revocations over EST: have certificate {serial_hex[:80]} revoked by the "
            "scheme in the way that it offers, and record its confirmation.",
        )

    def _reference(self, request: SignRequest) -> str:
        return f"est:{self._trust_domain}:{request.token}:{request.csr.sha256[:16]}"

    def _enrol(self, request: SignRequest) -> tuple[ParsedCertificate, ...]:
        with _translated():
            outcome = self._client.enrol(request.csr.der)
        if isinstance(outcome, WaitingUntil):
            raise Pending(
                f"{self._client.server} has taken the request and signs it later.",
                max(outcome.moment - self._clock(), timedelta(seconds=1)),
            )
        return outcome.certificates

    def _ca_certificates(self, *, anew: bool = False) -> tuple[ParsedCertificate, ...]:
        now = self._clock()
        if anew or self._cas_at is None or now - self._cas_at >= _CAS_KNOWN_FOR:
            with _translated(enrolling=False):
                self._cas = self._client.ca_certificates()
            self._cas_at = now
        return self._cas

    def _signed(self, request: SignRequest, answered: Sequence[ParsedCertificate]) -> SignedCertificate:
        leaf = _leaf_among(answered, request.csr.public_key_sha256)
        if leaf is None:
            raise AuthorityUnavailable(
                f"{self._client.server} answered without the certificate that was asked for; the request is repeated."
            )
        ahead = leaf.not_before - self._clock()
        if timedelta(0) < ahead <= _CLOCK_DIFFERENCE:
            raise Pending(f"The certificate of {self._client.server} is valid in a moment; its clock is ahead.", ahead)
        path = self._path(leaf, [*answered, *self._cas])
        if path is None:
            try:
                self._ca_certificates(anew=True)
            except AuthorityError as error:
                raise AuthorityUnavailable(error.message) from error
            path = self._path(leaf, [*answered, *self._cas])
        # Where no path leads to an anchor, whoever records certificates has to see what came, and refuses it.
        path = path or order_chain(leaf, [*answered, *self._cas])
        return SignedCertificate(certificate_pem=leaf.pem, chain_pem=_pem(path[1:]))

    def _path(self, leaf: ParsedCertificate, candidates: Sequence[ParsedCertificate]) -> list[ParsedCertificate] | None:
        try:
            return verify_issued(
                leaf=leaf,
                chain=candidates,
                anchors=self._anchors,
                now=self._clock(),
                public_key_sha256=None,
                extended_key_usages=(),
                not_after_limit=None,
            )
        except ChainError:
            return None

    def _issuing_path(self, cas: Sequence[ParsedCertificate]) -> list[ParsedCertificate]:
        now = self._clock()
        trusted = {one.fingerprint_sha256 for one in self._anchors}
        paths = []
        for ca in cas:
            if not ca.is_ca or not ca.not_before <= now <= ca.not_after:
                continue
            path = order_chain(ca, [*self._anchors, *cas])
            if path[-1].fingerprint_sha256 in trusted:
                paths.append(path)
        if not paths:
            raise AuthorityMisconfigured(
                f"No CA that {self._client.server} names leads to an anchor of {self._trust_domain}: check the file of "
                f"anchors and the path of cacerts in {AUTHORITIES_SETTING}."
            )
        # The one furthest from its root issues; of several, which a scheme has while it changes them, the newest.
        return max(paths, key=lambda path: (len(path), path[0].not_before, path[0].not_after))


@contextmanager
def _translated(*, enrolling: bool = True) -> Iterator[None]:
    """Raise what an EST server answers, or does not, as an `AuthorityError`."""
    try:
        yield
    except EstError as error:
        raise _of_answer(error, enrolling) from error


def _of_answer(error: EstError, enrolling: bool) -> AuthorityError:
    match error:
        case EstThrottled():
            return Throttled(error.message, error.wait)
        case EstUnavailable():
            return AuthorityUnavailable(f"{error.message} It is asked again.", sent=enrolling and error.sent)
        case EstNotAuthorised():
            return AuthorityMisconfigured(
                f"{error.message} Check the address, the anchors and the credentials of this CA, and whether the "
                "scheme knows the common name."
            )
        case EstRefused() if enrolling:
            return RequestRefused("failed", error.message)
        case _:
            return AuthorityMisconfigured(f"{error.message} Check its paths in {AUTHORITIES_SETTING}.")


def _check_what_est_can_say(request: SignRequest) -> None:
    if request.subject is not None and request.subject != request.csr.subject:
        raise RequestRefused("subject", "Over EST the subject is that of the CSR; no other can be asked for.")
    if request.dns_names:
        raise RequestRefused("alternative_names", "Over EST no host names can be asked for.")
    if not request.csr.subject:
        raise RequestRefused("empty_subject", "The CSR has no subject, and over EST no other can be given.")


def _leaf_among(certificates: Sequence[ParsedCertificate], public_key_sha256: str) -> ParsedCertificate | None:
    """The certificate of the request; of none, one that is at least no CA's, for whoever verifies to see."""
    ends = [one for one in certificates if not one.is_ca]
    wanted = [one for one in ends if one.public_key_sha256 == public_key_sha256]
    return max(wanted, key=lambda one: one.not_before, default=ends[0] if ends else None)


def _pem(path: Sequence[ParsedCertificate]) -> str:
    return "".join(one.pem for one in path)


def _keep(kept: OrderedDict[str, _Kept], reference: str, value: _Kept) -> None:
    kept[reference] = value
    while len(kept) > _MOST_ANSWERS:
        kept.popitem(last=False)
