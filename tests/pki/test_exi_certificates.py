"""Certificates in EXI documents: found at any bit, whatever is around them, and in bounded work."""

import json
from base64 import b64decode
from pathlib import Path

import pytest

from bfcerts.pki import exi_certificates
from bfcerts.pki.certificates import CertificateError, ParsedCertificate
from bfcerts.pki.exi_certificates import LONGEST, MOST_READ, embedded_certificates
from tests.pki.material import Issuer

EXAMPLES = Path(__file__).parents[3] / "shared" / "data" / "opcp" / "ccp.v1.json"
BEGINNING = b"\x30\x82\x01\x00\x30\x82\x00\x20\xa0\x03\x02\x01\x02\x02"


def document(certificates: list[ParsedCertificate], bits: int) -> bytes:
    """A stream that has these certificates after so many bits and between other content, as EXI aligns nothing."""
    content = b"".join(b"\x80\x98\x02" + certificate.der + b"\x1f" for certificate in certificates)
    padded = int.from_bytes(b"\x80" + content) << (8 - bits % 8) % 8
    return padded.to_bytes(len(content) + 3)


@pytest.mark.parametrize("bits", range(8))
def test_certificates_are_found_at_every_bit_in_their_order(bits: int) -> None:
    sub2, sub1 = Issuer("MO Sub2"), Issuer("MO Sub1")
    certificates = [sub2.issue("DE8AA001234567"), sub2.certificate, sub1.certificate]
    assert embedded_certificates(document(certificates, bits)) == certificates


def test_what_stands_twice_is_found_once() -> None:
    certificate = Issuer("Root").certificate
    assert embedded_certificates(document([certificate, certificate], 3)) == [certificate]


def test_two_that_begin_at_different_bits_are_both_found() -> None:
    first, second = Issuer("One").certificate, Issuer("Two").certificate
    assert embedded_certificates(document([first], 1) + document([second], 5)) == [first, second]


@pytest.mark.parametrize(
    "exi",
    [b"", b"\x30", b"\x00" * LONGEST, b"\xff" * 5_000, BEGINNING, BEGINNING * 1_000, b"<xml/>", b"\x30\x82" * 8_000],
)
def test_what_holds_no_certificate_gives_none(exi: bytes) -> None:
    assert embedded_certificates(exi) == []


def test_a_certificate_that_is_cut_off_is_none() -> None:
    certificate = Issuer("Root").certificate
    assert embedded_certificates(document([certificate], 2)[:-40]) == []


def test_a_document_made_of_beginnings_costs_no_more_than_the_first_of_them() -> None:
    """Each of them reads a little before it is seen to be none; what comes behind too many is not looked at."""
    certificate = Issuer("Root").certificate
    few, many = BEGINNING * (MOST_READ // 2), BEGINNING * MOST_READ * 2
    assert embedded_certificates(few + b"\x00" * 300 + document([certificate], 0)) == [certificate]
    assert embedded_certificates(many + b"\x00" * 300 + document([certificate], 0)) == []


def test_a_document_that_is_too_long_is_refused() -> None:
    with pytest.raises(CertificateError, match=f"at most {LONGEST}"):
        embedded_certificates(bytes(LONGEST + 1))


def published() -> dict[str, bytes]:
    """The EXI documents in the published description of a contract pool, where it is at hand."""
    if not EXAMPLES.exists():
        return {}
    post = json.loads(EXAMPLES.read_bytes())["paths"]["/v1/ccp/signedContractData"]["post"]
    request = post["requestBody"]["content"]["application/json"]["examples"]["example-1"]["value"]
    answer = post["responses"]["200"]["content"]["application/json"]["examples"]["Positive Response"]["value"]
    content = answer["CCPResponse"]["emaidContent"][0]["messageDef"]
    return {
        "request": b64decode(request["certificateInstallationReq"]),
        "answer": b64decode(content["certificateInstallationRes"]),
    }


def test_the_published_documents_give_their_certificates() -> None:
    names = {
        kind: [certificate.common_names for certificate in embedded_certificates(exi)]
        for kind, exi in published().items()
    }
    if names:
        assert names["request"][0] == ("hubjectopenpnc0001",)
        assert ("EMP99CQAPAB004",) in names["answer"]
        assert len(names["answer"]) == 6
    assert exi_certificates.LONGEST * 4 // 3 > 17_000
