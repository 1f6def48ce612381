"""What AWS Private CA does with a request, as its guides describe it and as far as our adapter depends on it.

Where the guides are silent the stand-in takes the reading that is hardest on a caller: a token alone decides what is
"the same request" for five minutes, and after them the same request is a new certificate.
"""

import dataclasses
import threading
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bfcerts.pki.authorities.base import RequestRefused, RevocationReason, SignRequest
from bfcerts.pki.authorities.local import LocalAuthority
from bfcerts.pki.certificates import normalise_serial, parse_certificate, split_chain
from bfcerts.pki.csr import CsrError, ParsedCsr, parse_csr
from bfcerts.pki.profiles import PROFILES, AlternativeNames, EndEntityProfile
from tests.acm_pca.errors import ServiceError
from tests.acm_pca.reports import AuditReports, Bucket

REGION = "eu-central-1"
ACCOUNT = "123456789012"
TOKENS_REMEMBERED = timedelta(minutes=5)
DEFAULT_BACKDATING = timedelta(minutes=60)
SHORT_LIVED_LIMIT = timedelta(days=7)
LONGEST_CSR = 32768

_REASONS = {
    "UNSPECIFIED": RevocationReason.UNSPECIFIED,
    "KEY_COMPROMISE": RevocationReason.KEY_COMPROMISE,
    "CERTIFICATE_AUTHORITY_COMPROMISE": RevocationReason.CA_COMPROMISE,
    "AFFILIATION_CHANGED": RevocationReason.AFFILIATION_CHANGED,
    "SUPERSEDED": RevocationReason.SUPERSEDED,
    "CESSATION_OF_OPERATION": RevocationReason.CESSATION_OF_OPERATION,
    "PRIVILEGE_WITHDRAWN": RevocationReason.PRIVILEGE_WITHDRAWN,
    "A_A_COMPROMISE": RevocationReason.AA_COMPROMISE,
}


@dataclass
class IssuedCertificate:
    """One certificate that the stand-in made; two for one enrolment are what a careless caller causes."""

    arn: str
    trust_domain: str
    token: str | None
    issued_at: datetime
    serial_hex: str
    certificate_pem: str
    chain_pem: str
    template_arn: str = ""
    polls: int = 0
    revoked_for: str | None = None
    revoked_at: datetime | None = None


@dataclass
class PrivateCa:
    """One CA: its ARN, its keys, and what an operator of AWS could change about it."""

    arn: str
    trust_domain: str
    authority: LocalAuthority
    status: str = "ACTIVE"
    usage_mode: str = "GENERAL_PURPOSE"


@dataclass(frozen=True)
class _RememberedToken:
    arn: str
    used_at: datetime


class PrivateCaService:
    """The operations of the service over a set of CAs, one for each trust domain.

    :ivar polls_until_ready: how many GetCertificate calls answer "in progress" before one answers.
    :ivar signing_takes: how long signing takes by `clock`.
    :ivar issued: every certificate made, in order.
    :ivar substitute: members of every answer to GetCertificate that are given instead of the right ones.
    :ivar reports: the audit reports.
    """

    def __init__(
        self,
        directory: Path,
        trust_domains: Collection[str],
        clock: Callable[[], datetime],
        store: Bucket | None = None,
    ) -> None:
        self._clock = clock
        self.reports = AuditReports(clock, store)
        self._lock = threading.Lock()
        self._tokens: dict[tuple[str, str], _RememberedToken] = {}
        self.polls_until_ready = 1
        self.signing_takes = timedelta(0)
        self.issued: list[IssuedCertificate] = []
        self.substitute: dict[str, str] = {}
        self.authorities = {
            domain: PrivateCa(
                arn=f"arn:aws:acm-pca:{REGION}:{ACCOUNT}:certificate-authority/{uuid.uuid4()}",
                trust_domain=domain,
                authority=LocalAuthority(directory, domain, "key of the stand-in's own CA", clock=clock),
            )
            for domain in trust_domains
        }

    def perform(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """The answer to one call.

        :raises ServiceError: with the service's own error.
        """
        with self._lock:
            authority = self._find(parameters["CertificateAuthorityArn"])
            match operation:
                case "IssueCertificate":
                    return self._issue(authority, parameters)
                case "GetCertificate":
                    return self._get(authority, parameters["CertificateArn"])
                case "RevokeCertificate":
                    return self._revoke(authority, parameters)
                case "DescribeCertificateAuthority":
                    return _describe(authority)
                case "GetCertificateAuthorityCertificate":
                    return _own_certificate(authority)
                case "CreateCertificateAuthorityAuditReport":
                    return self._create_report(authority, parameters)
                case "DescribeCertificateAuthorityAuditReport":
                    return self.reports.describe(authority.arn, parameters["AuditReportId"])
        raise ServiceError("UnknownOperationException", f"{operation} is not played by the stand-in.")

    def _find(self, arn: str) -> PrivateCa:
        if ":certificate-authority/" not in arn or "/certificate/" in arn:
            raise ServiceError("InvalidArnException", f"{arn} is not the ARN of a CA.")
        for authority in self.authorities.values():
            if authority.arn == arn:
                return authority
        raise ServiceError("ResourceNotFoundException", f"Could not find certificate authority {arn}.")

    def _issue(self, authority: PrivateCa, parameters: dict[str, Any]) -> dict[str, Any]:
        if authority.status != "ACTIVE":
            raise ServiceError("InvalidStateException", f"The certificate authority is {authority.status}.")
        now = self._clock()
        token = parameters.get("IdempotencyToken")
        remembered = self._tokens.get((authority.arn, token)) if token else None
        if remembered and now - remembered.used_at < TOKENS_REMEMBERED:
            return {"CertificateArn": remembered.arn}
        request = _sign_request(authority, parameters, now)
        try:
            signed = authority.authority.collect(authority.authority.submit(request))
        except RequestRefused as refusal:
            raise ServiceError("ValidationException", refusal.message) from refusal
        assert signed is not None
        serial = parse_certificate(signed.certificate_pem).serial_hex
        certificate = IssuedCertificate(
            arn=f"{authority.arn}/certificate/{serial}",
            trust_domain=authority.trust_domain,
            token=token,
            issued_at=now,
            serial_hex=serial,
            certificate_pem=signed.certificate_pem,
            chain_pem=signed.chain_pem,
            template_arn=parameters.get("TemplateArn", ""),
        )
        self.issued.append(certificate)
        if token:
            self._tokens[authority.arn, token] = _RememberedToken(certificate.arn, now)
        return {"CertificateArn": certificate.arn}

    def _get(self, authority: PrivateCa, arn: str) -> dict[str, Any]:
        certificate = next((one for one in self.issued if one.arn == arn), None)
        if certificate is None or certificate.trust_domain != authority.trust_domain:
            raise ServiceError("ResourceNotFoundException", f"Could not find certificate {arn}.")
        certificate.polls += 1
        ready_at = certificate.issued_at + self.signing_takes
        if certificate.polls <= self.polls_until_ready or self._clock() < ready_at:
            raise ServiceError("RequestInProgressException", "The request to issue a certificate is in progress.")
        answer = {"Certificate": certificate.certificate_pem, "CertificateChain": certificate.chain_pem}
        return answer | self.substitute

    def _create_report(self, authority: PrivateCa, parameters: dict[str, Any]) -> dict[str, Any]:
        if authority.status in ("CREATING", "PENDING_CERTIFICATE", "DELETED"):
            raise ServiceError("InvalidStateException", f"The certificate authority is {authority.status}.")
        if parameters["AuditReportResponseFormat"] != "JSON":
            raise ServiceError("InvalidArgsException", "The stand-in writes reports in JSON only.")
        signed_by_now = self._clock() - self.signing_takes
        issued = [
            one for one in self.issued if one.trust_domain == authority.trust_domain and one.issued_at <= signed_by_now
        ]
        return self.reports.create(authority.arn, parameters["S3BucketName"], issued)

    def _revoke(self, authority: PrivateCa, parameters: dict[str, Any]) -> dict[str, Any]:
        serial = normalise_serial(parameters["CertificateSerial"])
        for certificate in self.issued:
            if certificate.trust_domain == authority.trust_domain and certificate.serial_hex == serial:
                break
        else:
            raise ServiceError("ResourceNotFoundException", f"Could not find certificate {serial}.")
        if certificate.revoked_for is not None:
            raise ServiceError("RequestAlreadyProcessedException", "The certificate is already revoked.")
        certificate.revoked_for = parameters["RevocationReason"]
        certificate.revoked_at = self._clock()
        authority.authority.revoke(serial, _REASONS[certificate.revoked_for])
        return {}


def _sign_request(authority: PrivateCa, parameters: dict[str, Any], now: datetime) -> SignRequest:
    try:
        csr = parse_csr(parameters["Csr"], max_characters=LONGEST_CSR)
    except CsrError as error:
        raise ServiceError("MalformedCSRException", error.message) from error
    if not csr.subject and not csr.subject_alternative_names:
        raise ServiceError("ValidationException", "The CSR has neither subject nor alternative names.")
    if not parameters["SigningAlgorithm"].endswith("ECDSA"):
        raise ServiceError("InvalidArgsException", "The signing algorithm does not match the CA's key.")
    not_before = _moment(parameters.get("ValidityNotBefore"), now) or now - DEFAULT_BACKDATING
    not_after = _moment(parameters["Validity"], now)
    if not_after is None or not_after <= max(now, not_before):
        raise ServiceError("ValidationException", "The certificate would end before it begins.")
    if authority.usage_mode == "SHORT_LIVED_CERTIFICATE" and not_after - now > SHORT_LIVED_LIMIT:
        raise ServiceError("ValidationException", "A short-lived CA issues for seven days at most.")
    profile, dns_names = _template(parameters.get("TemplateArn", ""), csr)
    return SignRequest(
        token=str(uuid.uuid4()),
        csr=csr,
        profile=profile,
        subject=None,
        dns_names=dns_names,
        not_before=not_before.replace(microsecond=0),
        not_after=not_after.replace(microsecond=0),
    )


def _template(arn: str, csr: ParsedCsr) -> tuple[EndEntityProfile, tuple[str, ...]]:
    name = arn.partition(":template/")[2]
    profile = next((one for one in PROFILES.values() if one.aws_template == name), None)
    if profile is None:
        raise ServiceError("InvalidArgsException", f"The stand-in does not play the template {arn}.")
    # Base templates copy the alternative names of the CSR, whatever the certificate is for.
    dns_names = tuple(name.removeprefix("DNS:") for name in csr.subject_alternative_names if name.startswith("DNS:"))
    copied = AlternativeNames.DNS_OF_REQUEST if dns_names else AlternativeNames.NONE
    return dataclasses.replace(profile, alternative_names=copied), dns_names


def _moment(validity: dict[str, Any] | None, now: datetime) -> datetime | None:
    if validity is None:
        return None
    value = validity["Value"]
    match validity["Type"]:
        case "ABSOLUTE":
            return datetime.fromtimestamp(value, UTC)
        case "END_DATE":
            text = str(value)
            return datetime.strptime(text, "%Y%m%d%H%M%S" if len(text) == 14 else "%y%m%d%H%M%S").replace(tzinfo=UTC)
        case "DAYS":
            return now + timedelta(days=value)
    raise ServiceError("ValidationException", f"The stand-in does not play validity in {validity['Type']}.")


def _describe(authority: PrivateCa) -> dict[str, Any]:
    issuing = parse_certificate(authority.authority.describe().certificate_pem)
    return {
        "CertificateAuthority": {
            "Arn": authority.arn,
            "OwnerAccount": ACCOUNT,
            "Type": "SUBORDINATE",
            "Serial": issuing.serial_hex,
            "Status": authority.status,
            "NotBefore": issuing.not_before.timestamp(),
            "NotAfter": issuing.not_after.timestamp(),
            "CertificateAuthorityConfiguration": {
                "KeyAlgorithm": "EC_prime256v1",
                "SigningAlgorithm": "SHA256WITHECDSA",
                "Subject": {"CommonName": issuing.common_names[0]},
            },
            "UsageMode": authority.usage_mode,
        }
    }


def _own_certificate(authority: PrivateCa) -> dict[str, Any]:
    if authority.status in ("CREATING", "PENDING_CERTIFICATE"):
        raise ServiceError("InvalidStateException", f"The certificate authority is {authority.status}.")
    issuing, *above = split_chain(authority.authority.describe().chain_pem)
    return {"Certificate": issuing, "CertificateChain": "".join(above)}
