"""The stand-in says what the service would say, to callers that are not our adapter."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from bfcerts.pki.certificates import parse_certificate
from bfcerts.pki.csr import parse_csr
from tests.acm_pca import AcmPcaServer
from tests.pki.authority_contract import TRUST_DOMAIN, dns, now
from tests.pki.aws import client
from tests.pki.material import csr_pem, name, new_key, raw_csr

if TYPE_CHECKING:
    from mypy_boto3_acm_pca import ACMPCAClient

CLIENT_TEMPLATE = "arn:aws:acm-pca:::template/EndEntityClientAuthCertificate/V1"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[AcmPcaServer]:
    with AcmPcaServer(tmp_path, [TRUST_DOMAIN]) as running:
        running.answer_after(polls=0)
        yield running


@pytest.fixture
def boto(server: AcmPcaServer) -> Iterator["ACMPCAClient"]:
    with client(server.url) as made:
        yield made


def issue(boto: "ACMPCAClient", server: AcmPcaServer, **changed: Any) -> str:
    values: dict[str, Any] = {
        "CertificateAuthorityArn": server.arns[TRUST_DOMAIN],
        "Csr": csr_pem(new_key(), name("CP-1")).encode(),
        "SigningAlgorithm": "SHA256WITHECDSA",
        "TemplateArn": CLIENT_TEMPLATE,
        "Validity": {"Type": "DAYS", "Value": 30},
    }
    return boto.issue_certificate(**{**values, **changed})["CertificateArn"]


def error_of(boto: "ACMPCAClient", server: AcmPcaServer, **changed: Any) -> str:
    with pytest.raises(ClientError) as caught:
        issue(boto, server, **changed)
    return str(caught.value.response["Error"]["Code"])


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"IdempotencyToken": "x" * 37}, "ValidationException"),
        ({"SigningAlgorithm": "SHA1WITHRSA"}, "ValidationException"),
        ({"SigningAlgorithm": "SHA256WITHRSA"}, "InvalidArgsException"),
        ({"TemplateArn": "arn:aws:acm-pca:::template/EndEntityCertificate_CSRPassthrough/V1"}, "InvalidArgsException"),
        ({"CertificateAuthorityArn": "not an arn"}, "ValidationException"),
        ({"CertificateAuthorityArn": CLIENT_TEMPLATE}, "InvalidArnException"),
        ({"Csr": b"not a request"}, "MalformedCSRException"),
        ({"Csr": csr_pem(new_key(), name("CP-1")).replace("M", "N").encode()}, "MalformedCSRException"),
        ({"Csr": parse_csr(raw_csr(new_key(), subject=b"\x30\x00")).pem.encode()}, "ValidationException"),
        ({"Validity": {"Type": "ABSOLUTE", "Value": 1}}, "ValidationException"),
        ({"Validity": {"Type": "END_DATE", "Value": 20991231235959}}, "ValidationException"),
    ],
)
def test_what_the_service_refuses(
    boto: "ACMPCAClient", server: AcmPcaServer, changed: dict[str, Any], code: str
) -> None:
    assert error_of(boto, server, **changed) == code
    assert server.issued == []


def test_a_base_template_copies_subject_and_alternative_names_from_the_csr(
    boto: "ACMPCAClient", server: AcmPcaServer
) -> None:
    """Why the adapter polices both before the call."""
    issue(boto, server, Csr=csr_pem(new_key(), name("CP-1"), [dns("evil.example")]).encode())
    (issued,) = server.issued
    leaf = parse_certificate(issued.certificate_pem)
    assert leaf.subject_text == "CN=CP-1"
    assert leaf.subject_alternative_names == ("DNS:evil.example",)


def test_validity_begins_an_hour_ago_unless_it_is_said(boto: "ACMPCAClient", server: AcmPcaServer) -> None:
    before = now()
    issue(boto, server)
    leaf = parse_certificate(server.issued[0].certificate_pem)
    assert 3595 <= (before - leaf.not_before).total_seconds() <= 3600


def test_a_token_alone_names_a_request(boto: "ACMPCAClient", server: AcmPcaServer) -> None:
    """The documentation's words taken literally: one token, one certificate, even for another CSR."""
    first = issue(boto, server, IdempotencyToken="one")
    assert issue(boto, server, IdempotencyToken="one") == first
    assert issue(boto, server, IdempotencyToken="two") != first
    assert issue(boto, server) != issue(boto, server)


def test_an_unsigned_or_foreign_call_is_not_served(server: AcmPcaServer) -> None:
    signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/eu-central-1/acm-pca/aws4_request"}
    wire = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "ACMPrivateCA.GetCertificate"}
    assert post(server, wire, b"{}") == (403, "MissingAuthenticationTokenException")
    assert post(server, {**signed, **wire}, b"[]") == (400, "SerializationException")
    assert post(server, {**signed, **wire}, b"not json") == (400, "SerializationException")
    assert post(server, {**signed, **wire}, b"{}") == (400, "ValidationException")
    unknown = {**signed, **wire, "X-Amz-Target": "ACMPrivateCA.Nothing"}
    assert post(server, unknown, b"{}") == (400, "UnknownOperationException")


def post(server: AcmPcaServer, headers: dict[str, str], body: bytes) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    asked = urllib.request.Request(server.url, data=body, headers=headers, method="POST")  # noqa: S310  # loopback
    with pytest.raises(urllib.error.HTTPError) as caught:
        opener.open(asked)
    with caught.value as answer:
        return answer.code, json.loads(answer.read())["__type"]
