"""AWS Private CA as a `CertificateAuthority`, through boto3's acm-pca client.

The base templates copy subject and alternative names from the CSR, so both are policed here before the call;
the passthrough templates, with which a CSR chooses its own extensions, are never used. AWS remembers an
idempotency token for five minutes: what has to hold longer is held by the caller's intent row, and looked up in the
CA's audit report.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, NoRegionError

from bfcerts.pki.authorities.aws_audit_report import AuditReports, ObjectStore
from bfcerts.pki.authorities.aws_errors import code_of, translated, unavailable
from bfcerts.pki.authorities.base import (
    AuthorityDescription,
    AuthorityMisconfigured,
    AuthorityUnavailable,
    CannotLook,
    Recovery,
    RequestRefused,
    RevocationReason,
    SignedCertificate,
    SignRequest,
)
from bfcerts.pki.certificates import CertificateError, normalise_serial, parse_certificate, split_chain
from bfcerts.pki.chains import order_chain, stack
from bfcerts.pki.profiles import AlternativeNames

if TYPE_CHECKING:
    from mypy_boto3_acm_pca import ACMPCAClient
    from mypy_boto3_acm_pca.literals import RevocationReasonType, SigningAlgorithmType
    from mypy_boto3_acm_pca.type_defs import CertificateAuthorityTypeDef

SHORT_LIVED = "SHORT_LIVED_CERTIFICATE"
SHORT_LIVED_VALIDITY = timedelta(days=7)

# One try each: a repetition is a re-queued step under our own rate and back-off, never a held worker.
CLIENT_CONFIGURATION = Config(
    connect_timeout=5,
    read_timeout=15,
    retries={"mode": "standard", "total_max_attempts": 1},
    tcp_keepalive=True,
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


def build_store(region: str | None, session: boto3.Session | None = None) -> ObjectStore:
    """A client for S3; AWS_ENDPOINT_URL_S3 in the environment names another endpoint than AWS's own.

    :raises AuthorityMisconfigured: when no region is set, or the endpoint is no URL.
    """
    try:
        client: ObjectStore = (session or boto3.Session()).client("s3", region_name=region, config=CLIENT_CONFIGURATION)
    except (NoRegionError, ValueError) as error:
        raise AuthorityMisconfigured(f"S3: {error} Set BFCERTS_AWS_REGION.") from None
    return client


class AwsPrivateAuthority:
    """A `CertificateAuthority` that is one CA of AWS Private CA.

    :param arn: the issuing CA.
    :param reports: its audit reports, where lost answers are found; None where no bucket is set up for them.
    """

    def __init__(
        self, client: "ACMPCAClient", arn: str, trust_domain: str, *, reports: AuditReports | None = None
    ) -> None:
        self._client = client
        self._arn = arn
        self._trust_domain = trust_domain
        self._reports = reports

    @property
    def name(self) -> str:
        """How operators see it."""
        return "AWS Private CA"

    @property
    def answers_at_once(self) -> bool:
        """It signs while we wait, and knows a token for some minutes."""
        return False

    @property
    def run_by_others(self) -> bool:
        """It is ours, at AWS."""
        return False

    @property
    def trust_domain(self) -> str:
        """The one trust domain that it issues for."""
        return self._trust_domain

    def describe(self) -> AuthorityDescription:
        """See `CertificateAuthority.describe`."""
        authority = self._authority()
        with translated(self._arn):
            answer = self._client.get_certificate_authority_certificate(CertificateAuthorityArn=self._arn)
            issuing = parse_certificate(answer["Certificate"])
            above = answer.get("CertificateChain")
            candidates = [parse_certificate(one) for one in split_chain(above)] if above else []
        path = order_chain(issuing, candidates)
        status = authority["Status"]
        mode = authority.get("UsageMode", "GENERAL_PURPOSE")
        return AuthorityDescription(
            reference=self._arn,
            certificate_pem=issuing.pem,
            chain_pem=stack(path, include_root=True),
            root_pem=path[-1].pem,
            mode=mode,
            longest_validity=SHORT_LIVED_VALIDITY if mode == SHORT_LIVED else None,
            usable=status == "ACTIVE",
            status=status,
        )

    def submit(self, request: SignRequest) -> str:
        """IssueCertificate: returns the ARN; see `CertificateAuthority.submit`."""
        template = _template(request)
        _check_subject(request)
        _check_alternative_names(request)
        try:
            signing_algorithm = self._signing_algorithm
        except AuthorityUnavailable as error:
            raise AuthorityUnavailable(error.message, sent=False) from error
        with translated(self._arn):
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

    def recover(self, request: SignRequest, *, since: datetime, asked_at: datetime, now: datetime) -> Recovery:
        """Look into the CA's audit report; see `CertificateAuthority.recover`."""
        if self._reports is None:
            return CannotLook(
                "no bucket is set up for the CA's audit reports; set BFCERTS_AWS_AUDIT_REPORT_BUCKET for the PKI "
                "process and start it again"
            )
        return self._reports.candidates(request, since=since, asked_at=asked_at, now=now)

    def collect(self, reference: str) -> SignedCertificate | None:
        """GetCertificate; see `CertificateAuthority.collect`."""
        unknown = RequestRefused(
            "unknown_reference", f"{reference!r} is not a certificate of {self._arn}; request it again."
        )
        if not reference.startswith(f"{self._arn}/certificate/"):
            raise unknown
        with translated(self._arn):
            try:
                answer = self._client.get_certificate(CertificateAuthorityArn=self._arn, CertificateArn=reference)
            except ClientError as error:
                match code_of(error):
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
        with translated(self._arn):
            try:
                self._client.revoke_certificate(
                    CertificateAuthorityArn=self._arn,
                    CertificateSerial=_octets(serial_hex),
                    RevocationReason=_REVOCATION_REASONS[reason],
                )
            except CertificateError:
                raise unknown from None
            except ClientError as error:
                match code_of(error):
                    case "RequestAlreadyProcessedException":
                        return
                    case "ResourceNotFoundException":
                        raise unknown from error
                    case "RequestInProgressException" | "RequestFailedException":
                        raise unavailable(self._arn, error) from error
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
        with translated(self._arn):
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
