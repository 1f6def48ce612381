"""The certificate authorities, one adapter each behind `base.CertificateAuthority`.

Only the lifecycle's issuance module may import this package, and only the PKI process holds what it needs.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from bfcerts.pki.authorities.base import (
    AskAgain,
    AuthorityDescription,
    AuthorityError,
    AuthorityMisconfigured,
    AuthorityUnavailable,
    Candidates,
    CannotLook,
    CertificateAuthority,
    Pending,
    ReportBook,
    RequestRefused,
    RevocationReason,
    SignedCertificate,
    SignRequest,
    StillLooking,
    Throttled,
)
from bfcerts.pki.authorities.local import LocalAuthority, ensure_local_allowed
from bfcerts.pki.authorities.scheme_settings import (
    AUTHORITIES_SETTING,
    CREDENTIALS_SETTING,
    SchemeAuthority,
    SchemeCredentials,
    read_authorities,
    read_credentials,
)

__all__ = [
    "AskAgain",
    "AuthorityDescription",
    "AuthorityError",
    "AuthorityMisconfigured",
    "AuthorityUnavailable",
    "Candidates",
    "CannotLook",
    "CertificateAuthority",
    "LocalAuthority",
    "Pending",
    "ReportBook",
    "RequestRefused",
    "RevocationReason",
    "SchemeAuthority",
    "SchemeCredentials",
    "SignRequest",
    "SignedCertificate",
    "StillLooking",
    "Throttled",
    "build_authorities",
    "build_scheme_authorities",
    "ensure_local_allowed",
    "read_authorities",
    "read_credentials",
]


def _utc_now() -> datetime:
    return datetime.now(UTC)


def build_authorities(
    *,
    kind: Literal["local", "aws_private_ca"],
    trust_domains: Collection[str],
    directory: Path | None = None,
    local_ca_key: str | None = None,
    debug: bool = False,
    local_ca_allowed: bool = False,
    aws_region: str | None = None,
    aws_endpoint_url: str | None = None,
    arns: Mapping[str, str] | None = None,
    audit_report_bucket: str | None = None,
    report_book: ReportBook | None = None,
    clock: Callable[[], datetime] = _utc_now,
) -> Mapping[str, CertificateAuthority]:
    """One authority for each trust domain, as the installation is configured; no CA is asked or made yet.

    :param trust_domains: the managed ones; each needs a CA of its own.
    :param arns: the issuing CA of each trust domain, for AWS Private CA.
    :param audit_report_bucket: the S3 bucket where AWS Private CA writes its audit reports, from which lost answers
        are recovered; without it they need a person.
    :param report_book: remembers the last audit report of each CA; needed with the bucket.
    :raises AuthorityMisconfigured: with one sentence.
    """
    if kind == "local":
        return _local(trust_domains, directory, local_ca_key, debug, local_ca_allowed, clock)
    return _aws(trust_domains, dict(arns or {}), aws_region, aws_endpoint_url, audit_report_bucket, report_book)


def build_scheme_authorities(
    authorities: Mapping[str, SchemeAuthority],
    credentials: Mapping[str, SchemeCredentials],
    *,
    possible: Collection[str],
    clock: Callable[[], datetime] = _utc_now,
) -> Mapping[str, CertificateAuthority]:
    """The schemes' CAs by trust domain, as the installation is configured; none is asked yet.

    :param possible: the trust domains that a scheme's CA may issue for.
    :raises AuthorityMisconfigured: with one sentence, which holds no secret.
    """
    # Only where a scheme's CA is set up is its adapter needed.
    from bfcerts.pki.authorities.scheme_setup import build

    for setting, named in ((AUTHORITIES_SETTING, authorities), (CREDENTIALS_SETTING, credentials)):
        unknown = sorted(set(named) - set(possible if setting == AUTHORITIES_SETTING else authorities))
        if unknown:
            known = ", ".join(sorted(possible if setting == AUTHORITIES_SETTING else authorities)) or "none"
            raise AuthorityMisconfigured(f"{setting} names {', '.join(unknown)}; what it may name is {known}.")
    return {
        domain: build(domain, settings, credentials.get(domain), clock=clock)
        for domain, settings in authorities.items()
    }


def _local(
    trust_domains: Collection[str],
    directory: Path | None,
    key: str | None,
    debug: bool,
    allowed: bool,
    clock: Callable[[], datetime],
) -> Mapping[str, CertificateAuthority]:
    ensure_local_allowed(debug, allowed)
    if directory is None:
        raise AuthorityMisconfigured("The local CA has no folder: set BFCERTS_LOCAL_CA_DIRECTORY.")
    if not key:
        raise AuthorityMisconfigured(
            "The local CA has no secret to encrypt its keys under: set BFCERTS_LOCAL_CA_KEY for the PKI "
            "process to 32 random characters or more, and keep it."
        )
    return {domain: LocalAuthority(directory, domain, key, clock=clock) for domain in trust_domains}


def _aws(
    trust_domains: Collection[str],
    arns: Mapping[str, str],
    region: str | None,
    endpoint_url: str | None,
    bucket: str | None,
    book: ReportBook | None,
) -> Mapping[str, CertificateAuthority]:
    # Every process that knows the lifecycle imports this package; only this one pays for boto3.
    from bfcerts.pki.authorities.aws_audit_report import AuditReports
    from bfcerts.pki.authorities.aws_private_ca import AwsPrivateAuthority, build_client, build_store

    missing = sorted(set(trust_domains) - set(arns))
    if missing:
        raise AuthorityMisconfigured(
            f"AWS Private CA has no issuing CA for {', '.join(missing)}: add trust_domain=arn pairs to "
            "BFCERTS_AWS_PRIVATE_CA_ARNS."
        )
    unknown = sorted(set(arns) - set(trust_domains))
    if unknown:
        raise AuthorityMisconfigured(
            f"BFCERTS_AWS_PRIVATE_CA_ARNS names {', '.join(unknown)}, for which nothing is issued here; "
            f"there are {', '.join(sorted(trust_domains))}."
        )
    used: dict[str, str] = {}
    for domain, arn in arns.items():
        if arn in used:
            raise AuthorityMisconfigured(
                f"BFCERTS_AWS_PRIVATE_CA_ARNS gives {used[arn]} and {domain} the same CA; each trust domain "
                "needs one of its own."
            )
        used[arn] = domain
    client = build_client(region, endpoint_url)
    if bucket is None or book is None:
        return {domain: AwsPrivateAuthority(client, arns[domain], domain) for domain in trust_domains}
    store = build_store(region)
    return {
        domain: AwsPrivateAuthority(
            client, arns[domain], domain, reports=AuditReports(client, store, bucket, arns[domain], book)
        )
        for domain in trust_domains
    }
