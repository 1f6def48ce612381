"""OCSP: our requests and answers before openssl's client and responder, and what is not believed."""

import base64
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp as strict_ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from bfcerts.bounded_http import BoundedHttp
from bfcerts.pki.certificates import ParsedCertificate
from bfcerts.pki.hash_data import certificate_hash_data
from bfcerts.pki.ocsp.answers import CertificateStatus, VerifiedAnswer, verify_answer
from bfcerts.pki.ocsp.client import ask
from bfcerts.pki.ocsp.requests import CertificateId, OcspError, build_request, read_request
from bfcerts.pki.ocsp.responder import AppointedSigner, Refusal, StatusOf, build_answer, build_refusal
from bfcerts.pki.revocation import Revocation
from bfcerts.pki.signers import KeySigner, SigningKey
from tests.pki.material import Issuer, new_key
from tests.pki.openssl import openssl
from tests.pki.test_hostile import mutated

NOW = datetime.now(UTC).replace(microsecond=0)
LONG = NOW + timedelta(days=400)
ROOT = Issuer("V2G Root")
CA = Issuer("CPO Sub2", ROOT, path_length=0)
LEAF_NUMBER = 0x6A0B
LEAF = CA.issue("DE*ICE*E45B*78C", usages=(), not_after=LONG, serial=LEAF_NUMBER)
RESPONDER_KEY = new_key()
RESPONDER = CA.issue("OCSP", key=RESPONDER_KEY, usages=(ExtendedKeyUsageOID.OCSP_SIGNING,), not_after=LONG)
REVOKED = Revocation(NOW - timedelta(days=1), "keyCompromise")


def key_of(issuer: Issuer) -> SigningKey:
    assert isinstance(issuer.key, ec.EllipticCurvePrivateKey)
    return issuer.key


def appointed(certificate: ParsedCertificate = RESPONDER, key: SigningKey = RESPONDER_KEY) -> AppointedSigner:
    return AppointedSigner(certificate, KeySigner(key))


def asked_about(leaf: ParsedCertificate = LEAF, algorithm: str = "SHA256") -> CertificateId:
    return CertificateId.of(leaf.serial_hex, CA.certificate, algorithm)


def status(revocation: Revocation | None = None, *, known: bool = True, about: CertificateId | None = None) -> StatusOf:
    return StatusOf(about or asked_about(), known, revocation, NOW - timedelta(minutes=1), NOW + timedelta(hours=4))


def answer(*statuses: StatusOf, by: AppointedSigner | None = None, nonce: bytes | None = None) -> bytes:
    return build_answer(statuses or (status(),), by=by or appointed(), produced_at=NOW, nonce=nonce)


def verified(der: bytes, *, now: datetime = NOW, nonce: bytes | None = None) -> VerifiedAnswer:
    return verify_answer(der, wanted=asked_about(), issuer=CA.certificate, now=now, nonce=nonce)


def refused(der: bytes, *, now: datetime = NOW, nonce: bytes | None = None) -> str:
    with pytest.raises(OcspError) as caught:
        verified(der, now=now, nonce=nonce)
    assert caught.value.message.endswith(".")
    return caught.value.code


# -- our answers before openssl ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (status(), "good"),
        (status(REVOKED), "revoked\n\tThis Update"),
        (status(known=False), "unknown"),
    ],
)
def test_openssl_believes_our_answers(given: StatusOf, said: str, tmp_path: Path) -> None:
    der = answer(replace(given, certificate=asked_about(algorithm="SHA1")))
    text = _openssl_client(der, tmp_path)
    assert "Response verify OK" in text
    assert f"leaf.pem: {said.partition(chr(10))[0]}" in text
    if given.revocation:
        assert "Reason: keyCompromise" in text


def test_the_ca_may_sign_for_itself(tmp_path: Path) -> None:
    der = answer(status(about=asked_about(algorithm="SHA1")), by=appointed(CA.certificate, key_of(CA)))
    assert "Response verify OK" in _openssl_client(der, tmp_path)
    assert strict_ocsp.load_der_ocsp_response(der).certificates == []


def test_a_strict_parser_reads_everything_that_we_said() -> None:
    read = strict_ocsp.load_der_ocsp_response(answer(status(REVOKED), nonce=b"n" * 32))
    assert read.response_status is strict_ocsp.OCSPResponseStatus.SUCCESSFUL
    assert read.certificate_status is strict_ocsp.OCSPCertStatus.REVOKED
    assert read.revocation_time_utc == REVOKED.moment
    assert read.revocation_reason is x509.ReasonFlags.key_compromise
    assert read.serial_number == LEAF_NUMBER
    assert read.next_update_utc == NOW + timedelta(hours=4)
    assert read.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"n" * 32


def test_a_refusal_is_one_for_openssl_too(tmp_path: Path) -> None:
    for why in Refusal:
        (tmp_path / "refusal.der").write_bytes(build_refusal(why))
        done = subprocess.run(
            ["openssl", "ocsp", "-respin", str(tmp_path / "refusal.der"), "-noverify"],  # noqa: S607  # whichever the machine has
            capture_output=True,
            check=False,
        )
        assert f"Responder Error: {why.value.replace('_', '')}" in done.stdout.decode().lower().replace(
            "responder error", "Responder Error"
        )


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(65537, 2048), ed448.Ed448PrivateKey.generate(), ec.generate_private_key(ec.SECP521R1())],
)
def test_keys_of_every_kind_sign(key: SigningKey) -> None:
    signer = CA.issue("OCSP", key=key, usages=(ExtendedKeyUsageOID.OCSP_SIGNING,), not_after=LONG)
    assert verified(answer(by=appointed(signer, key))).status is CertificateStatus.GOOD


def test_a_curve_that_nobody_uses_signs_nothing() -> None:
    with pytest.raises(ValueError, match="nothing here signs with a key on secp224r1"):
        KeySigner(ec.generate_private_key(ec.SECP224R1()))


# -- our requests before openssl, and its answers before us -----------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["SHA1", "SHA256"])
@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("V\t{end}\t\t6A0B\tunknown\t/CN=leaf\n", CertificateStatus.GOOD),
        ("R\t{end}\t260101000000Z,keyCompromise\t6A0B\tunknown\t/CN=leaf\n", CertificateStatus.REVOKED),
        ("V\t{end}\t\t6A0C\tunknown\t/CN=leaf\n", CertificateStatus.UNKNOWN),
    ],
)
def test_openssls_responder_answers_us_and_is_believed(
    entry: str, expected: CertificateStatus, algorithm: str, tmp_path: Path
) -> None:
    wanted = asked_about(algorithm=algorithm)
    nonce = os.urandom(32)
    der = _openssl_responder(build_request([wanted], nonce=nonce), entry.format(end=f"{LONG:%y%m%d%H%M%SZ}"), tmp_path)

    read = verify_answer(der, wanted=wanted, issuer=CA.certificate, now=datetime.now(UTC), nonce=nonce)

    assert read.status is expected
    assert read.repeats_nonce
    assert read.responder == "CN=OCSP"
    assert read.der == der
    assert read.next_update is not None
    assert read.usable_until == read.next_update
    if expected is CertificateStatus.REVOKED:
        assert read.revocation == Revocation(datetime(2026, 1, 1, tzinfo=UTC), "keyCompromise")
    else:
        assert read.revocation is None


def test_openssls_responder_is_asked_over_http(tmp_path: Path) -> None:
    with _openssl_listening("V\t{end}\t\t6A0B\tunknown\t/CN=leaf\n", tmp_path) as address:
        read = ask(BoundedHttp(address, None), "/", wanted=asked_about(), issuer=CA.certificate, now=datetime.now(UTC))
    assert read.status is CertificateStatus.GOOD
    assert read.repeats_nonce


def test_a_responder_that_is_away_or_no_responder(tmp_path: Path) -> None:
    with _openssl_listening("", tmp_path) as address:
        pass
    for responder in (BoundedHttp(address, None), BoundedHttp(address, None, public_only=True)):
        with pytest.raises(OcspError) as caught:
            ask(responder, "/", wanted=asked_about(), issuer=CA.certificate, now=NOW)
        assert caught.value.code == "unreachable"


def test_a_request_is_what_a_strict_parser_makes_of_it() -> None:
    read = strict_ocsp.load_der_ocsp_request(build_request([asked_about()], nonce=b"12345678"))
    built = strict_ocsp.OCSPRequestBuilder().add_certificate(
        x509.load_der_x509_certificate(LEAF.der),
        x509.load_der_x509_certificate(CA.certificate.der),
        hashes.SHA256(),
    )
    same = built.build()
    assert (read.issuer_name_hash, read.issuer_key_hash) == (same.issuer_name_hash, same.issuer_key_hash)
    assert read.serial_number == LEAF_NUMBER
    assert read.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"12345678"


def test_what_others_ask_is_read(tmp_path: Path) -> None:
    for name, certificate in {"leaf": LEAF, "ca": CA.certificate}.items():
        (tmp_path / f"{name}.pem").write_text(certificate.pem)
    openssl(
        "ocsp", "-issuer", tmp_path / "ca.pem", "-cert", tmp_path / "leaf.pem", "-serial", "0x7f", "-reqout",
        tmp_path / "request.der",
    )  # fmt: skip
    asked = read_request((tmp_path / "request.der").read_bytes())
    assert asked.certificates == (
        asked_about(algorithm="SHA1"),
        replace(asked_about(algorithm="SHA1"), serial_hex="7f"),
    )
    assert asked.nonce
    assert read_request(build_request([asked_about()])).nonce is None


# -- what a station asks about ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["SHA256", "SHA384", "SHA512"])
def test_hash_data_of_a_station_names_the_certificate(algorithm: str) -> None:
    stated = certificate_hash_data(LEAF, CA.certificate, algorithm)
    expected = asked_about(algorithm=algorithm)
    assert CertificateId.from_hash_data(stated) == expected
    shouted = {**stated, **{name: stated[name].upper() for name in ("issuerNameHash", "issuerKeyHash")}}
    assert CertificateId.from_hash_data({**shouted, "serialNumber": "006A0B"}) == expected
    assert expected.issued_by(CA.certificate)
    assert not expected.issued_by(ROOT.certificate)


def test_hash_data_in_base64_has_its_serial_number_in_decimal() -> None:
    stated = certificate_hash_data(LEAF, CA.certificate, "SHA256")
    encoded = {
        name: base64.urlsafe_b64encode(bytes.fromhex(stated[name])).decode()
        for name in ("issuerNameHash", "issuerKeyHash")
    }
    station = {**stated, **encoded, "serialNumber": str(LEAF_NUMBER)}
    assert CertificateId.from_hash_data(station) == asked_about()


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"hashAlgorithm": "MD5"}, "unsupported_hash"),
        ({"issuerNameHash": "00"}, "malformed"),
        ({"issuerKeyHash": "zz" * 32}, "malformed"),
        ({"serialNumber": "not a number"}, "bad_serial"),
        ({"serialNumber": "4" * 200}, "bad_serial"),
        ({"serialNumber": ""}, "bad_serial"),
    ],
)
def test_hash_data_that_names_nothing(changed: dict[str, str], code: str) -> None:
    with pytest.raises(OcspError) as caught:
        CertificateId.from_hash_data({**certificate_hash_data(LEAF, CA.certificate, "SHA256"), **changed})
    assert caught.value.code == code


# -- what is not believed ---------------------------------------------------------------------------------------------


def test_an_answer_holds_between_its_dates() -> None:
    der = answer()
    assert verified(der, now=NOW + timedelta(hours=4)).status is CertificateStatus.GOOD
    assert refused(der, now=NOW + timedelta(hours=5)) == "stale"
    assert refused(der, now=NOW - timedelta(hours=1)) == "not_yet_valid"


def test_a_signer_that_the_ca_did_not_appoint_is_not_believed() -> None:
    other = Issuer("CPO Sub2", ROOT, path_length=0)
    purpose = (ExtendedKeyUsageOID.OCSP_SIGNING,)
    for signer in (
        other.issue("OCSP", key=RESPONDER_KEY, usages=purpose, not_after=LONG),
        ROOT.issue("OCSP", key=RESPONDER_KEY, usages=purpose, not_after=LONG),
        CA.issue("OCSP", key=RESPONDER_KEY, usages=(ExtendedKeyUsageOID.CLIENT_AUTH,), not_after=LONG),
        CA.issue("OCSP", key=RESPONDER_KEY, usages=(), not_after=LONG),
        CA.issue("OCSP", key=RESPONDER_KEY, usages=purpose, not_after=NOW - timedelta(days=1)),
    ):
        assert refused(answer(by=appointed(signer))) == "wrong_responder"
    assert refused(answer(by=appointed(ROOT.certificate, key_of(ROOT)))) == "wrong_responder"


def test_a_signature_of_another_key_is_not_believed() -> None:
    assert refused(answer(by=appointed(RESPONDER, new_key()))) == "bad_signature"
    assert refused(answer(by=appointed(CA.certificate, new_key()))) == "bad_signature"


def test_an_answer_about_another_certificate_is_not_taken() -> None:
    other = status(about=replace(asked_about(), serial_hex="7f"))
    assert refused(answer(other)) == "wrong_certificate"
    assert verified(answer(other, status())).status is CertificateStatus.GOOD
    assert refused(answer(status(about=asked_about(algorithm="SHA1")))) == "wrong_certificate"


def test_of_two_things_that_are_said_the_worse_one_counts() -> None:
    assert verified(answer(status(), status(REVOKED))).status is CertificateStatus.REVOKED


def test_the_nonce_of_somebody_else_is_refused_and_none_is_taken() -> None:
    assert refused(answer(nonce=b"theirs--"), nonce=b"ours----") == "nonce"
    assert not verified(answer(), nonce=b"ours----").repeats_nonce
    assert verified(answer(nonce=b"ours----"), nonce=b"ours----").repeats_nonce


def test_what_a_responder_says_instead_of_an_answer() -> None:
    assert refused(build_refusal(Refusal.TRY_LATER)) == "try_later"
    assert refused(build_refusal(Refusal.UNAUTHORIZED)) == "refused"


def test_asking_the_wrong_ca_is_noticed() -> None:
    with pytest.raises(OcspError) as caught:
        verify_answer(answer(), wanted=asked_about(), issuer=ROOT.certificate, now=NOW)
    assert caught.value.code == "wrong_certificate"


@pytest.mark.parametrize("noise", [b"", b"<html>", b"\x30\x80", b"\x30\x03\x0a\x01\x00", b"\x30" * 70000])
def test_noise_is_no_answer(noise: bytes) -> None:
    assert refused(noise) in {"malformed", "too_large"}


def test_too_much_is_not_read() -> None:
    with pytest.raises(OcspError) as caught:
        read_request(build_request([asked_about()] * 21))
    assert caught.value.code == "too_many"
    with pytest.raises(OcspError) as caught:
        read_request(b"\x30" * 20000)
    assert caught.value.code == "too_large"
    assert refused(answer(*[status()] * 101)) == "too_many"


GOOD_ANSWER = answer(status(REVOKED), nonce=b"nonce---")
GOOD_REQUEST = build_request([asked_about()], nonce=b"nonce---")


@settings(max_examples=400, deadline=None)
@given(mutated(GOOD_ANSWER))
def test_answers_with_changed_octets_are_refused_or_say_the_same(der: bytes) -> None:
    _documented(lambda: verified(der, nonce=b"nonce---"))


@settings(max_examples=200, deadline=None)
@given(st.one_of(mutated(GOOD_REQUEST), st.binary(max_size=200)))
def test_requests_of_noise(der: bytes) -> None:
    _documented(lambda: read_request(der))


def _documented(read: Callable[[], object]) -> None:
    try:
        found = read()
    except OcspError as error:
        if not error.message.endswith("."):
            raise
        return
    if isinstance(found, VerifiedAnswer):
        assert (found.status, found.revocation) == (CertificateStatus.REVOKED, REVOKED)


def _openssl_client(der: bytes, folder: Path) -> str:
    for name, content in {
        "leaf.pem": LEAF.pem,
        "ca.pem": CA.certificate.pem,
        "trusted.pem": CA.certificate.pem + ROOT.certificate.pem,
    }.items():
        (folder / name).write_text(content)
    (folder / "answer.der").write_bytes(der)
    return openssl(
        "ocsp", "-respin", folder / "answer.der", "-issuer", folder / "ca.pem", "-cert", folder / "leaf.pem",
        "-CAfile", folder / "trusted.pem", "-no_nonce",
    )  # fmt: skip


def _openssl_responder(request: bytes, index: str, folder: Path) -> bytes:
    (folder / "request.der").write_bytes(request)
    openssl(
        *_responding(index, folder), "-reqin", folder / "request.der", "-respout", folder / "answer.der", "-ndays", "1"
    )
    return (folder / "answer.der").read_bytes()


@contextmanager
def _openssl_listening(index: str, folder: Path) -> Iterator[str]:
    """openssl's responder behind a port on loopback; its own would listen on every address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            kinds = (self.headers["Content-Type"], self.headers["Accept"])
            known = kinds == ("application/ocsp-request", "application/ocsp-response")
            answered = _openssl_responder(asked, index.format(end=f"{LONG:%y%m%d%H%M%SZ}"), folder)
            self.send_response(200 if known else 415)
            self.send_header("Content-Length", str(len(answered)))
            self.end_headers()
            self.wfile.write(answered)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _responding(index: str, folder: Path) -> list[str | Path]:
    key = RESPONDER_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "index.txt").write_text(index)
    (folder / "ca.pem").write_text(CA.certificate.pem)
    (folder / "responder.pem").write_text(RESPONDER.pem)
    (folder / "responder.key").write_bytes(key)
    return [
        "ocsp", "-index", folder / "index.txt", "-CA", folder / "ca.pem", "-rsigner", folder / "responder.pem",
        "-rkey", folder / "responder.key",
    ]  # fmt: skip
