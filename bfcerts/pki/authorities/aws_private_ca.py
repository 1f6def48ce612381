"""AWS Private CA as a `CertificateAuthority`, through boto3's acm-pca client.

The base templates copy subject and alternative names from the CSR, so both are policed here before the call;
the passthrough templates, with which a CSR chooses its own extensions, are never used. AWS remembers an
idempotency token for five minutes: what has to hold longer is held by the caller's intent row.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
)

from bfcerts.pki.authorities.base import (
    AuthorityDescription,
    AuthorityError,
    AuthorityMisconfigured,
    AuthorityUnavailable,
    RequestRefused,
    RevocationReason,
    SignedCertificate,
    SignRequest,
    Throttled,
)
from bfcerts.pki.certificates import CertificateError, normalise_serial, parse_certificate, split_chain
from bfcerts.pki.chains import order_chain, stack
from bfcerts.pki.profiles import AlternativeNames

if TYPE_CHECKING:
    from mypy_boto3_acm_pca import ACMPCAClient
    from mypy_boto3_acm_pca.literals import RevocationReasonType, SigningAlgorithmType
    from mypy_boto3_acm_pca.type_defs import CertificateAuthorityTypeDef

SHORT_LIVED = "SHORT_LIVED_CERTIFICATE"
SHORT_LIVED_DAYS = 7

# One try each: a repetition is a re-queued step under our own rate and back-off, never a held worker.
CLIENT_CONFIGURATION = Config(
    connect_timeout=5,
    read_timeout=15,
    retries={"mode": "standard", "total_max_attempts": 1},
    tcp_keepalive=True,
)

_THROTTLING = frozenset(
    {"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded", "SlowDown"}
)
_THROTTLED_FOR = timedelta(seconds=2)
# A quota that is used up, as of certificates per CA, is not free again after two seconds.
_QUOTA_FOR = timedelta(minutes=5)
_MISCONFIGURED = frozenset(
    {
        "AccessDeniedException",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidArnException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidStateException",
        "MissingAuthenticationTokenException",
        "ResourceNotFoundException",
        "UnrecognizedClientException",
    }
)
_REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "MalformedCSRException": "malformed_csr",
        "InvalidArgsException": "invalid_arguments",
        "InvalidRequestException": "invalid_arguments",
        "ValidationException": "invalid_arguments",
        "RequestFailedException": "failed",
    }
)
# The CA's key decides: AWS signs with the family of algorithms that its key belongs to.
_SIGNING_ALGORITHMS: Mapping[str, "SigningAlgorithmType"] = MappingProxyType(
    {
        "EC_prime256v1": "SHA256WITHECDSA",
        "EC_secp384r1": "SHA384WITHECDSA",
        "EC_secp521r1": "SHA512WITHECDSA",
        "RSA_2048": "SHA256WITHRSA",
        "RSA_3072": "SHA256WITHRSA",
        "RSA_4096": "SHA512WITHRSA",
        "ML_DSA_44": "ML_DSA_44",
        "ML_DSA_65": "ML_DSA_65",
        "ML_DSA_87": "ML_DSA_87",
        "SM2": "SM3WITHSM2",
    }
)

_REVOCATION_REASONS: Mapping[RevocationReason, "RevocationReasonType"] = MappingProxyType(
    {
        RevocationReason.UNSPECIFIED: "UNSPECIFIED",
        RevocationReason.KEY_COMPROMISE: "KEY_COMPROMISE",
        RevocationReason.CA_COMPROMISE: "CERTIFICATE_AUTHORITY_COMPROMISE",
        RevocationReason.AFFILIATION_CHANGED: "AFFILIATION_CHANGED",
        RevocationReason.SUPERSEDED: "SUPERSEDED",
        RevocationReason.CESSATION_OF_OPERATION: "CESSATION_OF_OPERATION",
        RevocationReason.PRIVILEGE_WITHDRAWN: "PRIVILEGE_WITHDRAWN",
        RevocationReason.AA_COMPROMISE: "A_A_COMPROMISE",
    }
)


def build_client(region: str | None, endpoint_url: str | None, session: boto3.Session | None = None) -> "ACMPCAClient":
    """A client for acm-pca with short time-outs and no retries of its own; it may be shared by threads.

    :param session: whose credentials are used; the process's own without it.
    :raises AuthorityMisconfigured: when no region is set.
    """
    try:
        return (session or boto3.Session()).client(
            "acm-pca", region_name=region, endpoint_url=endpoint_url, config=CLIENT_CONFIGURATION
        )
    except (NoRegionError, ValueError) as error:
        raise AuthorityMisconfigured(f"AWS Private CA: {error} Set BFCERTS_AWS_REGION.") from None


class AwsPrivateAuthority:
    """A `CertificateAuthority` that is one CA of AWS Private CA.

    :param arn: the issuing CA.
    :param clock: the time now, aware.
    """

    def __init__(self, client: "ACMPCAClient", arn: str, trust_domain: str, *, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._arn = arn
        self._trust_domain = trust_domain
        self._clock = clock

    @property
    def name(self) -> str:
        """How operators see it."""
        return "AWS Private CA"

    @property
    def trust_domain(self) -> str:
        """The one trust domain that it issues for."""
        return self._trust_domain

    def describe(self) -> AuthorityDescription:
        """See `CertificateAuthority.describe`."""
        authority = self._authority()
        with _translated(self._arn):
            answer = self._client.get_certificate_authority_certificate(CertificateAuthorityArn=self._arn)
            issuing = parse_certificate(answer["Certificate"])
            above = answer.get("CertificateChain")
            candidates = [parse_certificate(one) for one in split_chain(above)] if above else []
        path = order_chain(issuing, candidates)
        status = authority["Status"]
        return AuthorityDescription(
            reference=self._arn,
            certificate_pem=issuing.pem,
            chain_pem=stack(path, include_root=True),
            root_pem=path[-1].pem,
            mode=authority.get("UsageMode", "GENERAL_PURPOSE"),
            usable=status == "ACTIVE",
            status=status,
        )

    def check_validity(self, days: float) -> None:
        """Refuse what a short-lived CA cannot issue when a policy is set up, not when it is used.

        See `CertificateAuthority.check_validity`.
        """
        authority = self._authority()
        if authority.get("UsageMode") == SHORT_LIVED and days > SHORT_LIVED_DAYS:
            raise AuthorityMisconfigured(
                f"{self._arn} is a short-lived CA, which issues for {SHORT_LIVED_DAYS} days at most, and the "
                f"policy asks for {days:g}: shorten the policy, or name a general-purpose CA for "
                f"{self._trust_domain} in BFCERTS_AWS_PRIVATE_CA_ARNS."
            )
        end = authority.get("NotAfter")
        if end is not None and self._clock() + timedelta(days=days) > end:
            raise AuthorityMisconfigured(
                f"Certificates of {days:g} days would outlive {self._arn}, which ends {end:%Y-%m-%d}: renew "
                "that CA or shorten the policy."
            )

    def submit(self, request: SignRequest) -> str:
        """IssueCertificate: returns the ARN; see `CertificateAuthority.submit`."""
        template = _template(request)
        _check_subject(request)
        _check_alternative_names(request)
        signing_algorithm = self._signing_algorithm
        with _translated(self._arn):
            answer = self._client.issue_certificate(
                CertificateAuthorityArn=self._arn,
                Csr=request.csr.pem.encode("ascii"),
                SigningAlgorithm=signing_algorithm,
                TemplateArn=f"arn:{self._arn.split(':')[1]}:acm-pca:::template/{template}",
                Validity={"Type": "ABSOLUTE", "Value": int(request.not_after.timestamp())},
                ValidityNotBefore={"Type": "ABSOLUTE", "Value": int(request.not_before.timestamp())},
                IdempotencyToken=request.token,
            )
        return answer["CertificateArn"]

    def collect(self, reference: str) -> SignedCertificate | None:
        """GetCertificate; see `CertificateAuthority.collect`."""
        unknown = RequestRefused(
            "unknown_reference", f"{reference!r} is not a certificate of {self._arn}; request it again."
        )
        if not reference.startswith(f"{self._arn}/certificate/"):
            raise unknown
        with _translated(self._arn):
            try:
                answer = self._client.get_certificate(CertificateAuthorityArn=self._arn, CertificateArn=reference)
            except ClientError as error:
                match _code(error):
                    case "RequestInProgressException":
                        return None
                    case "ResourceNotFoundException":
                        raise unknown from error
                raise
        return SignedCertificate(answer["Certificate"], answer["CertificateChain"])

    def revoke(self, serial_hex: str, reason: RevocationReason) -> None:
        """RevokeCertificate; see `CertificateAuthority.revoke`."""
        unknown = RequestRefused(
            "unknown_serial",
            f"{self._arn} never issued serial number {serial_hex[:80]!r}; nothing is revoked.",
        )
        with _translated(self._arn):
            try:
                self._client.revoke_certificate(
                    CertificateAuthorityArn=self._arn,
                    CertificateSerial=_octets(serial_hex),
                    RevocationReason=_REVOCATION_REASONS[reason],
                )
            except CertificateError:
                raise unknown from None
            except ClientError as error:
                match _code(error):
                    case "RequestAlreadyProcessedException":
                        return
                    case "ResourceNotFoundException":
                        raise unknown from error
                    case "RequestInProgressException" | "RequestFailedException":
                        raise _unavailable(self._arn, error) from error
                raise

    @cached_property
    def _signing_algorithm(self) -> "SigningAlgorithmType":
        # Signatures are of the family that the CA's key belongs to, and a CA's key never changes.
        algorithm = self._authority()["CertificateAuthorityConfiguration"]["KeyAlgorithm"]
        try:
            return _SIGNING_ALGORITHMS[algorithm]
        except KeyError:
            raise AuthorityMisconfigured(
                f"{self._arn} has a key of kind {algorithm}, with which nothing here signs; name another CA "
                "in BFCERTS_AWS_PRIVATE_CA_ARNS."
            ) from None

    def _authority(self) -> "CertificateAuthorityTypeDef":
        with _translated(self._arn):
            return self._client.describe_certificate_authority(CertificateAuthorityArn=self._arn)[
                "CertificateAuthority"
            ]


def _template(request: SignRequest) -> str:
    if request.profile.aws_template is None:
        raise RequestRefused(
            "profile",
            f"AWS Private CA has no template with the effect of the profile {request.profile.name}.",
        )
    return request.profile.aws_template


def _check_subject(request: SignRequest) -> None:
    if not request.csr.subject:
        raise RequestRefused(
            "empty_subject", "The CSR has no subject, and AWS Private CA takes the subject from there."
        )
    if request.subject is not None and request.subject != request.csr.subject:
        raise RequestRefused(
            "subject",
            f"The CSR's subject ({request.csr.subject_text}) is not the one to certify, and AWS Private CA "
            "takes it from there: let the device ask with the right one.",
        )


def _check_alternative_names(request: SignRequest) -> None:
    wanted = request.profile.alternative_names is AlternativeNames.DNS_OF_REQUEST
    allowed = {f"DNS:{name}" for name in request.dns_names}
    asked = set(request.csr.subject_alternative_names)
    if wanted != bool(allowed) or asked != allowed:
        raise RequestRefused(
            "alternative_names",
            f"The CSR asks for the alternative names {', '.join(sorted(asked)) or '(none)'}, allowed are "
            f"{', '.join(sorted(allowed)) or '(none)'}, and AWS Private CA copies them from there.",
        )


def _octets(serial_hex: str) -> str:
    """A serial number as pairs of digits with colons, the form that AWS tells its users to copy."""
    digits = normalise_serial(serial_hex)
    padded = digits.zfill(len(digits) + len(digits) % 2)
    return ":".join(padded[start : start + 2] for start in range(0, len(padded), 2))


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def _translated(arn: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise _of_answer(arn, error) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise AuthorityMisconfigured(
            f"There are no credentials for {arn}: {error}. Give the PKI process an IAM role or keys."
        ) from error
    except ParamValidationError as error:
        raise RequestRefused("invalid_arguments", f"{arn} cannot be asked for that: {error}") from error
    except BotoCoreError as error:
        raise AuthorityUnavailable(f"{arn} gave no answer ({error}); the request is repeated.") from error
    except CertificateError as error:
        raise AuthorityUnavailable(f"{arn} answered with something else than a certificate.") from error


def _of_answer(arn: str, error: ClientError) -> AuthorityError:
    code = _code(error)
    text = str(error.response.get("Error", {}).get("Message", "")) or "no reason given"
    if code in _THROTTLING:
        return Throttled(f"{arn} is asked too often; the request is repeated.", _THROTTLED_FOR)
    if code == "LimitExceededException":
        return Throttled(f"A quota of {arn} is used up: {text} The request is repeated.", _QUOTA_FOR)
    if code in _MISCONFIGURED:
        return AuthorityMisconfigured(
            f"{arn} cannot be used ({code}: {text}): check its state, the ARN in "
            "BFCERTS_AWS_PRIVATE_CA_ARNS and the IAM rights of the PKI process."
        )
    if code in _REFUSED:
        return RequestRefused(_REFUSED[code], f"{arn} refused the request ({code}: {text}).")
    return _unavailable(arn, error)


def _unavailable(arn: str, error: ClientError) -> AuthorityUnavailable:
    return AuthorityUnavailable(f"{arn} cannot answer now ({_code(error)}); the request is repeated.")
