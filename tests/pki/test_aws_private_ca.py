"""AWS Private CA through boto3, against a stand-in that speaks the real wire protocol."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bfcerts.pki.authorities.aws_audit_report import AuditReports
from bfcerts.pki.authorities.aws_private_ca import AwsPrivateAuthority
from bfcerts.pki.authorities.base import (
    AuthorityError,
    AuthorityMisconfigured,
    AuthorityUnavailable,
    CertificateAuthority,
    RequestRefused,
    RevocationReason,
    Throttled,
)
from bfcerts.pki.certificates import parse_certificate
from bfcerts.pki.profiles import profile
from tests.acm_pca import AcmPcaServer
from tests.aws import services
from tests.aws.services import moto_server
from tests.pki.authority_contract import TRUST_DOMAIN, AuthorityContract, collected, dns, leaf_of, now, request
from tests.pki.aws import client
from tests.pki.material import parsed_csr
from tests.pki.report_book import MemoryReportBook

if TYPE_CHECKING:
    from mypy_boto3_acm_pca import ACMPCAClient

BUCKET = "audit-reports"


class Clock:
    """The service's time, which a test moves on."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    """S3 as moto's server plays it, with a bucket for audit reports."""
    with moto_server() as url, services.client("s3", url) as s3:
        services.make_bucket(s3, BUCKET)
        yield s3


@pytest.fixture
def server(tmp_path: Path, clock: Clock, store: Any) -> Iterator[AcmPcaServer]:
    domains = [TRUST_DOMAIN, "vehicle_vas_identity"]
    with AcmPcaServer(tmp_path / "acm-pca", domains, clock=clock, store=store) as running:
        yield running


@pytest.fixture
def boto(server: AcmPcaServer) -> Iterator["ACMPCAClient"]:
    with client(server.url) as made:
        yield made


@pytest.fixture
def authority(server: AcmPcaServer, boto: "ACMPCAClient", store: Any) -> CertificateAuthority:
    arn = server.arns[TRUST_DOMAIN]
    reports = AuditReports(boto, store, BUCKET, arn, MemoryReportBook())
    return AwsPrivateAuthority(boto, arn, TRUST_DOMAIN, reports=reports)


class TestAwsPrivateAuthority(AuthorityContract):
    """The contract."""


def test_the_call_says_everything_absolutely(authority: CertificateAuthority, server: AcmPcaServer) -> None:
    asked = request()
    authority.submit(asked)
    (call,) = server.calls("IssueCertificate")
    assert call == {
        "CertificateAuthorityArn": server.arns[TRUST_DOMAIN],
        "Csr": asked.csr.pem.encode(),
        "SigningAlgorithm": "SHA256WITHECDSA",
        "TemplateArn": "arn:aws:acm-pca:::template/EndEntityClientAuthCertificate/V1",
        "Validity": {"Type": "ABSOLUTE", "Value": int(asked.not_after.timestamp())},
        "ValidityNotBefore": {"Type": "ABSOLUTE", "Value": int(asked.not_before.timestamp())},
        "IdempotencyToken": asked.token,
    }


def test_issuing_is_in_progress_until_it_is_done(
    authority: CertificateAuthority, server: AcmPcaServer, clock: Clock
) -> None:
    server.answer_after(polls=2)
    reference = authority.submit(request())
    assert authority.collect(reference) is None
    assert authority.collect(reference) is None
    assert authority.collect(reference) is not None

    server.answer_after(signing_takes=timedelta(seconds=30))
    reference = authority.submit(request(token="slow"))
    assert authority.collect(reference) is None
    clock.now += timedelta(seconds=30)
    assert authority.collect(reference) is not None


def test_a_lost_answer_and_its_retry_are_one_certificate(authority: CertificateAuthority, server: AcmPcaServer) -> None:
    asked = request()
    server.lose_answer("IssueCertificate")
    with pytest.raises(AuthorityUnavailable, match="repeated"):
        authority.submit(asked)

    signed = collected(authority, authority.submit(asked))

    assert [one.certificate_pem for one in server.issued] == [signed.certificate_pem]


def test_after_five_minutes_the_same_token_is_a_second_certificate(
    authority: CertificateAuthority, server: AcmPcaServer, clock: Clock
) -> None:
    """What the caller's intent row is for: AWS does not remember longer."""
    asked = request()
    first = authority.submit(asked)
    clock.now += timedelta(minutes=5) - timedelta(microseconds=1)
    assert authority.submit(asked) == first
    clock.now += timedelta(microseconds=1)
    assert authority.submit(asked) != first
    assert len({one.serial_hex for one in server.issued}) == 2


@pytest.mark.parametrize("operation", ["IssueCertificate", "GetCertificate", "RevokeCertificate"])
@pytest.mark.parametrize(
    ("name", "patience"),
    [
        ("ThrottlingException", timedelta(seconds=2)),
        ("TooManyRequestsException", timedelta(seconds=2)),
        ("LimitExceededException", timedelta(minutes=5)),
    ],
)
def test_throttling_asks_for_patience_and_passes(
    authority: CertificateAuthority, server: AcmPcaServer, operation: str, name: str, patience: timedelta
) -> None:
    asked = request()
    leaf = leaf_of(authority, asked)
    reference = authority.submit(asked)
    server.fail(operation, name, "Rate exceeded")
    with pytest.raises(Throttled) as caught:
        _call(authority, operation, leaf.serial_hex, reference)
    assert caught.value.retry_after == patience
    _call(authority, operation, leaf.serial_hex, reference)


@pytest.mark.parametrize("operation", ["IssueCertificate", "GetCertificate", "RevokeCertificate"])
@pytest.mark.parametrize(
    ("name", "status", "kind"),
    [
        ("InternalFailure", 500, AuthorityUnavailable),
        ("ServiceUnavailable", 503, AuthorityUnavailable),
        ("SomethingNew", 400, AuthorityUnavailable),
        ("AccessDeniedException", 400, AuthorityMisconfigured),
        ("UnrecognizedClientException", 400, AuthorityMisconfigured),
        ("ExpiredTokenException", 400, AuthorityMisconfigured),
        ("InvalidArnException", 400, AuthorityMisconfigured),
        ("InvalidStateException", 400, AuthorityMisconfigured),
        ("ValidationException", 400, RequestRefused),
    ],
)
def test_every_error_has_its_meaning(
    authority: CertificateAuthority,
    server: AcmPcaServer,
    operation: str,
    name: str,
    status: int,
    kind: type[AuthorityError],
) -> None:
    leaf = leaf_of(authority, request())
    server.fail(operation, name, "for a reason.", status=status)
    with pytest.raises(kind) as caught:
        _call(authority, operation, leaf.serial_hex, server.issued[0].arn)
    assert name in caught.value.message


@pytest.mark.parametrize("operation", ["IssueCertificate", "GetCertificate", "RevokeCertificate"])
def test_a_dropped_connection_is_no_answer(
    authority: CertificateAuthority, server: AcmPcaServer, operation: str
) -> None:
    leaf = leaf_of(authority, request())
    server.drop(operation)
    with pytest.raises(AuthorityUnavailable):
        _call(authority, operation, leaf.serial_hex, server.issued[0].arn)


def test_each_call_is_tried_once(authority: CertificateAuthority, server: AcmPcaServer) -> None:
    """A repetition is a re-queued step under our own rate, not a held worker of boto's."""
    server.fail("IssueCertificate", "InternalFailure", status=500, times=3)
    with pytest.raises(AuthorityUnavailable):
        authority.submit(request())
    assert len(server.calls("IssueCertificate")) == 1


@pytest.mark.parametrize(
    ("name", "code"),
    [("MalformedCSRException", "malformed_csr"), ("InvalidArgsException", "invalid_arguments")],
)
def test_refusals_say_which(authority: CertificateAuthority, server: AcmPcaServer, name: str, code: str) -> None:
    server.fail("IssueCertificate", name, "no.")
    with pytest.raises(RequestRefused) as caught:
        authority.submit(request())
    assert caught.value.code == code


def test_a_certificate_that_failed_never_comes(authority: CertificateAuthority, server: AcmPcaServer) -> None:
    reference = authority.submit(request())
    server.fail("GetCertificate", "RequestFailedException", "for an unspecified reason.")
    with pytest.raises(RequestRefused) as caught:
        authority.collect(reference)
    assert caught.value.code == "failed"


@pytest.mark.parametrize(
    "name", ["ConcurrentModificationException", "RequestInProgressException", "RequestFailedException"]
)
def test_a_revocation_that_got_in_the_way_is_repeated(
    authority: CertificateAuthority, server: AcmPcaServer, name: str
) -> None:
    leaf = leaf_of(authority, request())
    server.fail("RevokeCertificate", name)
    with pytest.raises(AuthorityUnavailable):
        authority.revoke(leaf.serial_hex, RevocationReason.SUPERSEDED)
    authority.revoke(leaf.serial_hex, RevocationReason.SUPERSEDED)
    assert server.issued[0].revoked_for == "SUPERSEDED"


def test_a_revocation_whose_answer_was_lost_is_done(authority: CertificateAuthority, server: AcmPcaServer) -> None:
    leaf = leaf_of(authority, request())
    server.lose_answer("RevokeCertificate")
    with pytest.raises(AuthorityUnavailable):
        authority.revoke(leaf.serial_hex, RevocationReason.KEY_COMPROMISE)
    authority.revoke(leaf.serial_hex, RevocationReason.KEY_COMPROMISE)
    assert server.issued[0].revoked_for == "KEY_COMPROMISE"


def test_serials_are_sent_as_octets_however_they_come(authority: CertificateAuthority, server: AcmPcaServer) -> None:
    leaf = leaf_of(authority, request())
    authority.revoke(f"0x00{leaf.serial_hex.upper()}", RevocationReason.CA_COMPROMISE)
    (call,) = server.calls("RevokeCertificate")
    serial = leaf.serial_hex
    assert call["CertificateSerial"] == ":".join(serial[start : start + 2] for start in range(0, len(serial), 2))
    assert call["RevocationReason"] == "CERTIFICATE_AUTHORITY_COMPROMISE"


def test_no_call_is_made_for_what_is_refused_beforehand(authority: CertificateAuthority, server: AcmPcaServer) -> None:
    for asked, code in (
        (request(parsed_csr("CP-1", [dns("gateway.example")])), "alternative_names"),
        (request(parsed_csr("CP-1"), subject=(("CN", "CP-2"),)), "subject"),
        (request(profile=profile("evse_leaf")), "profile"),
        (
            request(
                parsed_csr("gateway.example", [dns("gateway.example", "evil.example")]),
                profile=profile("server"),
                dns_names=("gateway.example",),
            ),
            "alternative_names",
        ),
    ):
        with pytest.raises(RequestRefused) as caught:
            authority.submit(asked)
        assert caught.value.code == code
        assert caught.value.message.endswith(".")
    assert server.calls("IssueCertificate") == []


def test_a_disabled_ca_is_not_usable_and_issues_nothing(authority: CertificateAuthority, server: AcmPcaServer) -> None:
    server.set_status(TRUST_DOMAIN, "DISABLED")
    description = authority.describe()
    assert not description.usable
    assert description.status == "DISABLED"
    with pytest.raises(AuthorityMisconfigured, match="InvalidStateException"):
        authority.submit(request())
    server.set_status(TRUST_DOMAIN, "ACTIVE")
    assert authority.submit(request())


def test_a_ca_without_a_certificate_says_so(authority: CertificateAuthority, server: AcmPcaServer) -> None:
    server.set_status(TRUST_DOMAIN, "PENDING_CERTIFICATE")
    with pytest.raises(AuthorityMisconfigured, match="PENDING_CERTIFICATE"):
        authority.describe()


def test_a_short_lived_ca_says_for_how_long_it_issues(authority: CertificateAuthority, server: AcmPcaServer) -> None:
    server.set_usage_mode(TRUST_DOMAIN, "SHORT_LIVED_CERTIFICATE")
    assert authority.describe().mode == "SHORT_LIVED_CERTIFICATE"
    assert authority.describe().longest_validity == timedelta(days=7)
    with pytest.raises(RequestRefused):
        authority.submit(request())
    assert leaf_of(authority, request(not_after=now() + timedelta(days=6))).serial_hex


def test_a_ca_that_is_not_there(server: AcmPcaServer, boto: "ACMPCAClient", clock: Clock) -> None:
    arn = server.arns[TRUST_DOMAIN][:-1] + "x"
    with pytest.raises(AuthorityMisconfigured, match="ResourceNotFoundException"):
        AwsPrivateAuthority(boto, arn, TRUST_DOMAIN).describe()


def test_each_trust_domain_has_a_ca_of_its_own(
    authority: CertificateAuthority, server: AcmPcaServer, boto: "ACMPCAClient", clock: Clock
) -> None:
    vehicle = AwsPrivateAuthority(boto, server.arns["vehicle_vas_identity"], "vehicle_vas_identity")
    reference = authority.submit(request())
    with pytest.raises(RequestRefused):
        vehicle.collect(reference)
    serial = parse_certificate(server.issued[0].certificate_pem).serial_hex
    with pytest.raises(RequestRefused):
        vehicle.revoke(serial, RevocationReason.SUPERSEDED)


def test_a_server_that_is_gone_is_no_answer(tmp_path: Path, clock: Clock) -> None:
    with AcmPcaServer(tmp_path, [TRUST_DOMAIN], clock=clock) as server:
        url, arn = server.url, server.arns[TRUST_DOMAIN]
    with client(url) as boto, pytest.raises(AuthorityUnavailable, match="no answer"):
        AwsPrivateAuthority(boto, arn, TRUST_DOMAIN).describe()


def _call(authority: CertificateAuthority, operation: str, serial: str, reference: str) -> None:
    match operation:
        case "IssueCertificate":
            authority.submit(request(token="once more"))
        case "GetCertificate":
            authority.collect(reference)
        case "RevokeCertificate":
            authority.revoke(serial, RevocationReason.SUPERSEDED)
