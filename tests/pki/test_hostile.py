"""Whatever the bytes: one refusal of the documented kind, never another exception."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bfcerts.pki.certificates import CertificateError, parse_certificate, split_chain
from bfcerts.pki.chains import order_chain
from bfcerts.pki.csr import CsrError, parse_csr
from tests.pki.material import Issuer, csr_pem, name, new_key, raw_csr, tlv

CSR_CODES = {"too_large", "not_pem", "malformed", "bad_signature", "unsupported_key"}
GOOD_CSR = raw_csr(new_key())
GOOD_PEM = csr_pem(new_key(), name("CP-1"))
GOOD_CERTIFICATE = Issuer("Root").certificate.der


@st.composite
def mutated(draw: st.DrawFn, original: bytes) -> bytes:
    """Some octets changed, removed or put in, where a parser has already begun to believe."""
    content = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(content) - 1))
        match draw(st.sampled_from(["change", "remove", "insert", "cut"])):
            case "change":
                content[place] = draw(st.integers(0, 255))
            case "remove":
                del content[place]
            case "insert":
                content[place:place] = draw(st.binary(min_size=1, max_size=6))
            case "cut":
                del content[max(place, 1) :]
        if not content:
            return b""
    return bytes(content)


der_values = st.recursive(
    st.builds(
        tlv, st.sampled_from([0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C, 0x13, 0x17, 0x1E]), st.binary(max_size=20)
    ),
    lambda children: st.builds(
        lambda tag, parts: tlv(tag, *parts),
        st.sampled_from([0x30, 0x31, 0xA0, 0xA3, 0x24]),
        st.lists(children, max_size=6),
    ),
    max_leaves=25,
)


def refuse_csr(text: str | bytes) -> None:
    with documented(CsrError, CSR_CODES):
        parse_csr(text)


def refuse_certificate(text: str | bytes) -> None:
    with documented(CertificateError, {"too_large", "not_pem", "malformed"}):
        parse_certificate(text)


@contextmanager
def documented(kind: type[CsrError] | type[CertificateError], codes: set[str]) -> Iterator[None]:
    """Let a refusal pass if it is one that the documentation names; anything else fails the test."""
    try:
        yield
    except kind as error:
        if error.code not in codes or not error.message.endswith("."):
            raise


@settings(max_examples=400, deadline=None)
@given(mutated(GOOD_CSR))
def test_csrs_with_changed_octets(der: bytes) -> None:
    refuse_csr(der)


@settings(max_examples=150, deadline=None)
@given(mutated(GOOD_PEM.encode()))
def test_csrs_with_changed_armour(pem: bytes) -> None:
    refuse_csr(pem)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(max_size=300)))
@example(b"")
@example("\x00")
@example("-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----")
def test_csrs_of_noise(noise: str | bytes) -> None:
    refuse_csr(noise)
    refuse_certificate(noise)


@settings(max_examples=300, deadline=None)
@given(der_values)
def test_csrs_and_certificates_of_well_formed_nonsense(der: bytes) -> None:
    refuse_csr(der)
    refuse_certificate(der)


@settings(max_examples=200, deadline=None)
@given(subject=der_values, attributes=st.lists(der_values, max_size=3))
def test_properly_signed_nonsense(subject: bytes, attributes: list[bytes]) -> None:
    refuse_csr(raw_csr(SIGNER, subject=subject, attributes=tlv(0xA0, *attributes)))


@settings(max_examples=400, deadline=None)
@given(mutated(GOOD_CERTIFICATE))
def test_certificates_with_changed_octets(der: bytes) -> None:
    refuse_certificate(der)


@settings(max_examples=300, deadline=None)
@given(mutated(GOOD_CERTIFICATE))
def test_signatures_of_changed_certificates_are_false(der: bytes) -> None:
    root = parse_certificate(GOOD_CERTIFICATE)
    try:
        changed = parse_certificate(der)
    except CertificateError:
        return
    assert changed.signed_by(root) == (changed == root)
    assert order_chain(changed, [root])[0] == changed


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_chains_of_noise(text: str) -> None:
    with pytest.raises(CertificateError, match="PEM"):
        split_chain(text)


SIGNER = new_key()
