"""Certs-only PKCS #7, written for openssl and read from whoever writes it."""

import base64
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from hypothesis import given, settings
from hypothesis import strategies as st

from bfcerts.pki.certificates import ParsedCertificate, parse_certificate
from bfcerts.pki.chains import order_chain
from bfcerts.pki.est.messages import MessageError, decode_request, encode_certificates, encode_request
from bfcerts.pki.pkcs7 import LARGEST, Pkcs7Error, read_certificates
from bfcerts.pki.pkcs7 import encode_certificates as pkcs7_of
from tests.pki.est_server import key_pem
from tests.pki.material import Issuer, parsed_csr, tlv, with_default_spelt_out
from tests.pki.openssl import openssl
from tests.pki.test_hostile import mutated

POOL = Path(__file__).parents[3] / "shared" / "data" / "opcp-certificates"
ROOT = Issuer("V2G Root")
SUB1 = Issuer("CPO Sub1", ROOT, path_length=1)
SUB2 = Issuer("CPO Sub2", SUB1, path_length=0)
CHAINS_OF_THE_POOL = {
    "CPS_2022.2_QA": ("Prov_Sub2_CA_QA_G1.1.1", "Prov_Sub1_CA_QA_G1.1"),
    "EMP99CQATEST001": ("MO_Sub2_CA_QA_G1.1.1", "MO_Sub1_CA_QA_G1.1"),
    "huboemprovcqa0615": ("OEM_Sub2_CA_QA_G1.1.1", "OEM_Sub1_CA_QA_G1.1"),
    "hubUsEaTest000003": ("US_OEM_Sub2_CA_TEST_G2.1.1", "US_OEM_Sub1_CA_TEST_G2.1"),
}
LEAF = SUB2.issue("DE*ICE*E45B*78C", usages=())
CHAIN = (LEAF, SUB2.certificate, SUB1.certificate, ROOT.certificate)


def field_certificates() -> list[ParsedCertificate]:
    """Those of our own making, and those of a real pool where its examples are at hand."""
    found = [*CHAIN]
    found += [parse_certificate(path.read_text()) for path in sorted(POOL.glob("*.pem"))] if POOL.is_dir() else []
    return found


def test_openssl_reads_what_we_write(tmp_path: Path) -> None:
    (tmp_path / "chain.p7b").write_bytes(pkcs7_of(CHAIN))
    printed = openssl("pkcs7", "-inform", "DER", "-in", tmp_path / "chain.p7b", "-print_certs")
    assert all(one.pem in printed for one in CHAIN)
    assert printed.count("BEGIN CERTIFICATE") == len(CHAIN)
    assert len(pkcs7.load_der_pkcs7_certificates(pkcs7_of(CHAIN))) == len(CHAIN)


def test_we_read_what_openssl_and_others_write(tmp_path: Path) -> None:
    (tmp_path / "chain.pem").write_text("".join(one.pem for one in CHAIN))
    for form in ("DER", "PEM"):
        openssl(
            "crl2pkcs7", "-nocrl", "-certfile", tmp_path / "chain.pem", "-outform", form, "-out", tmp_path / "chain.p7b"
        )
        assert set(read_certificates((tmp_path / "chain.p7b").read_bytes())) == set(CHAIN)
    strict = [x509.load_der_x509_certificate(one.der) for one in CHAIN]
    for encoding in (Encoding.DER, Encoding.PEM):
        assert set(read_certificates(pkcs7.serialize_certificates(strict, encoding))) == set(CHAIN)


def test_a_signed_message_gives_its_certificates_too(tmp_path: Path) -> None:
    (tmp_path / "sub2.pem").write_text(SUB2.certificate.pem)
    (tmp_path / "sub2.key").write_bytes(key_pem(SUB2.key))
    openssl(
        "cms", "-sign", "-binary", "-signer", tmp_path / "sub2.pem", "-inkey", tmp_path / "sub2.key", "-outform", "DER",
        "-out", tmp_path / "signed.der", "-nodetach", stdin=b"content",
    )  # fmt: skip
    assert read_certificates((tmp_path / "signed.der").read_bytes()) == (SUB2.certificate,)


def test_a_stream_of_indefinite_length_is_read(tmp_path: Path) -> None:
    """BER, as streaming encoders write it."""
    inner = b"".join(one.der for one in CHAIN)
    signed = b"\x30\x80" + bytes.fromhex("020101 3100 300b06092a864886f70d010701") + b"\xa0\x80" + inner + b"\x00\x00"
    signed += b"\x31\x00" + b"\x00\x00"
    content = b"\x30\x80" + bytes.fromhex("06092a864886f70d010702") + b"\xa0\x80" + signed + b"\x00\x00" * 2
    assert set(read_certificates(content)) == set(CHAIN)
    assert set(read_certificates(base64.b64encode(content))) == set(CHAIN)


def test_order_means_nothing_and_each_certificate_comes_once() -> None:
    for given_order in (CHAIN, CHAIN[::-1], (CHAIN[2], CHAIN[0], CHAIN[3], CHAIN[1], CHAIN[0])):
        found = read_certificates(pkcs7_of(given_order))
        assert len(found) == len(CHAIN)
        assert order_chain(LEAF, found) == list(CHAIN)


def test_the_certificates_of_the_field_survive_both_ways() -> None:
    certificates = field_certificates()
    assert set(read_certificates(pkcs7_of(certificates))) == set(certificates)


def test_chains_of_a_real_pool_are_linked_out_of_a_container_in_any_order() -> None:
    chains = [list(CHAIN)]
    if POOL.is_dir():
        for leaf, above in CHAINS_OF_THE_POOL.items():
            chains.append([parse_certificate((POOL / f"{name}.pem").read_text()) for name in (leaf, *above)])
    everything = [one for chain in chains for one in chain]
    for given_order in (everything, everything[::-1]):
        found = read_certificates(pkcs7_of(given_order))
        assert all(order_chain(chain[0], found) == chain for chain in chains)


def test_a_certificate_that_a_strict_parser_refuses_is_read_and_written() -> None:
    plain = SUB2.issue("CPS", usages=(), extensions=[(x509.BasicConstraints(ca=False, path_length=None), False)])
    odd = parse_certificate(with_default_spelt_out(plain.der))
    assert odd.certificate is None

    found = read_certificates(pkcs7_of([odd, ROOT.certificate]))

    assert set(found) == {odd, ROOT.certificate}


def test_one_that_cannot_be_read_at_all_does_not_spoil_the_others() -> None:
    broken = tlv(0x30, tlv(0x30, tlv(0x02, b"\x01")), tlv(0x30), tlv(0x03, b"\x00"))
    assert set(read_certificates(_container(broken, ROOT.certificate.der))) == {ROOT.certificate}
    with pytest.raises(Pkcs7Error) as caught:
        read_certificates(_container(broken))
    assert caught.value.code == "malformed"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "not_pkcs7"),
        (b" \r\n", "not_pkcs7"),
        (b"<html></html>", "not_pkcs7"),
        (b"\xff\xfe\x00", "not_pkcs7"),
        (b"-----BEGIN PKCS7-----\nMIIB\n-----END CMS-----\n", "not_pkcs7"),
        (b"-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n", "not_pkcs7"),
        (base64.b64encode(base64.b64encode(base64.b64encode(pkcs7_of(CHAIN)))), "not_pkcs7"),
        (b"\x30\x82\xff\xff", "malformed"),
        (tlv(0x30, bytes.fromhex("06092a864886f70d010701")), "not_pkcs7"),
        (pkcs7_of([]), "empty"),
        (b"M" * (LARGEST + 1), "too_large"),
    ],
)
def test_what_holds_no_certificates(content: bytes, code: str) -> None:
    with pytest.raises(Pkcs7Error) as caught:
        read_certificates(content)
    assert caught.value.code == code
    assert caught.value.message.endswith(".")


def test_more_certificates_than_any_pki_has_are_not_read() -> None:
    many = [ROOT.issue(f"CP-{number}") for number in range(41)]
    for content in (pkcs7_of(many), "".join(one.pem for one in many).encode()):
        with pytest.raises(Pkcs7Error) as caught:
            read_certificates(content)
        assert caught.value.code == "too_many"


def test_a_server_answers_in_one_line_and_reads_requests_of_every_wrapping() -> None:
    """strongSwan reads no other answers than those of one line; libest sends and takes no long lines."""
    assert b"\n" not in encode_certificates(CHAIN)
    csr = parsed_csr("CP-1")
    sent = encode_request(csr.der)
    assert max(len(line) for line in sent.splitlines()) == 64
    for body in (sent, base64.b64encode(csr.der), csr.pem.encode(), csr.der, sent.replace(b"\r\n", b" \t\n")):
        assert decode_request(body).sha256 == csr.sha256
    for body in (b"", b"<html>", b"A" * 70000, base64.b64encode(b"\x30\x00")):
        with pytest.raises(MessageError):
            decode_request(body)


@settings(max_examples=300, deadline=None)
@given(st.one_of(mutated(pkcs7_of(CHAIN[:2])), mutated(base64.b64encode(pkcs7_of(CHAIN[:2]))), st.binary(max_size=200)))
def test_noise_is_refused_as_documented(content: bytes) -> None:
    try:
        read_certificates(content)
    except Pkcs7Error as error:
        if not error.message.endswith("."):
            raise


def _container(*certificates: bytes) -> bytes:
    signed = tlv(
        0x30,
        bytes.fromhex("0201013100"),
        bytes.fromhex("300b06092a864886f70d010701"),
        tlv(0xA0, *certificates),
        tlv(0x31),
    )
    return tlv(0x30, bytes.fromhex("06092a864886f70d010702"), tlv(0xA0, signed))
