"""The same adapter against moto's server: an implementation of the wire that is not ours.

moto's CA leaves the extensions of our template out, ignores validity and idempotency tokens and is never in progress,
so only what it does play is asked of it.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from moto.server import ThreadedMotoServer

from bfcerts.pki.authorities.aws_private_ca import AwsPrivateAuthority
from bfcerts.pki.authorities.base import AuthorityMisconfigured, RevocationReason
from bfcerts.pki.certificates import parse_certificate
from bfcerts.pki.chains import ChainError, verify_issued
from tests.pki.authority_contract import TRUST_DOMAIN, collected, request
from tests.pki.aws import client

if TYPE_CHECKING:
    from mypy_boto3_acm_pca import ACMPCAClient


@pytest.fixture(scope="module")
def boto() -> Iterator["ACMPCAClient"]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        with client(f"http://{host}:{port}") as made:
            yield made
    finally:
        server.stop()


@pytest.fixture
def arn(boto: "ACMPCAClient") -> str:
    """A root CA of moto's, with its own certificate imported."""
    arn = boto.create_certificate_authority(
        CertificateAuthorityConfiguration={
            "KeyAlgorithm": "RSA_2048",
            "SigningAlgorithm": "SHA256WITHRSA",
            "Subject": {"Organization": "Fleet", "CommonName": "Charger identity"},
        },
        CertificateAuthorityType="ROOT",
    )["CertificateAuthorityArn"]
    own = boto.issue_certificate(
        CertificateAuthorityArn=arn,
        Csr=boto.get_certificate_authority_csr(CertificateAuthorityArn=arn)["Csr"].encode(),
        SigningAlgorithm="SHA256WITHRSA",
        TemplateArn="arn:aws:acm-pca:::template/RootCACertificate/V1",
        Validity={"Type": "YEARS", "Value": 10},
    )["CertificateArn"]
    certificate = boto.get_certificate(CertificateAuthorityArn=arn, CertificateArn=own)["Certificate"]
    boto.import_certificate_authority_certificate(CertificateAuthorityArn=arn, Certificate=certificate.encode())
    return arn


@pytest.fixture
def authority(boto: "ACMPCAClient", arn: str) -> AwsPrivateAuthority:
    return AwsPrivateAuthority(boto, arn, TRUST_DOMAIN)


def utc_now() -> datetime:
    return datetime.now(UTC)


def test_a_root_ca_describes_itself(authority: AwsPrivateAuthority, arn: str) -> None:
    description = authority.describe()
    root = parse_certificate(description.root_pem)
    assert description.reference == arn
    assert description.usable
    assert description.certificate_pem == description.root_pem == description.chain_pem
    assert root.subject_text == "CN=Charger identity,O=Fleet"
    assert root.signed_by(root)


def test_a_certificate_for_the_key_of_the_csr(authority: AwsPrivateAuthority) -> None:
    asked = request()
    signed = collected(authority, authority.submit(asked))
    leaf = parse_certificate(signed.certificate_pem)
    assert leaf.public_key_sha256 == asked.csr.public_key_sha256
    assert leaf.signed_by(parse_certificate(signed.chain_pem))


def test_what_moto_makes_of_the_template_does_not_pass_for_a_client_certificate(
    authority: AwsPrivateAuthority,
) -> None:
    """Exactly what the check of an answer is there to notice."""
    asked = request()
    signed = collected(authority, authority.submit(asked))
    with pytest.raises(ChainError) as caught:
        verify_issued(
            leaf=parse_certificate(signed.certificate_pem),
            chain=[parse_certificate(signed.chain_pem)],
            anchors=[parse_certificate(authority.describe().root_pem)],
            now=utc_now() + timedelta(seconds=1),
            public_key_sha256=asked.csr.public_key_sha256,
            extended_key_usages=asked.profile.extended_key_usages,
            not_after_limit=asked.not_after,
        )
    assert caught.value.code == "wrong_key_usage"


def test_a_revocation_is_taken(authority: AwsPrivateAuthority, boto: "ACMPCAClient", arn: str) -> None:
    leaf = parse_certificate(collected(authority, authority.submit(request())).certificate_pem)
    authority.revoke(leaf.serial_hex, RevocationReason.SUPERSEDED)


def test_its_short_lived_mode_is_noticed(authority: AwsPrivateAuthority) -> None:
    assert authority.describe().longest_validity == timedelta(days=7)


def test_a_ca_that_is_not_there(boto: "ACMPCAClient", arn: str) -> None:
    with pytest.raises(AuthorityMisconfigured, match="ResourceNotFoundException"):
        AwsPrivateAuthority(boto, arn[:-4] + "0000", TRUST_DOMAIN).describe()
