"""Paths are found by signature, and what a CA returns is checked before it counts."""

from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from bfcerts.pki.certificates import ParsedCertificate, parse_certificate, split_chain
from bfcerts.pki.chains import ChainError, order_chain, stack, verify_issued
from bfcerts.pki.profiles import CLIENT_AUTH
from tests.pki.material import NOW, Issuer, certificate, key_usage, name, new_key
from tests.pki.openssl import verifies

ROOT = Issuer("Root", path_length=2)
SUB1 = Issuer("Sub 1", ROOT, path_length=1)
SUB2 = Issuer("Sub 2", SUB1, path_length=0)
LEAF = SUB2.issue()
STRANGER = Issuer("Root")
OTHERS = [STRANGER.certificate, Issuer("Sub 1", STRANGER).certificate, Issuer("Sub 2").certificate]


def check(leaf: ParsedCertificate = LEAF, **changed: Any) -> list[ParsedCertificate]:
    asked: dict[str, Any] = {
        "chain": [SUB1.certificate, SUB2.certificate],
        "anchors": [ROOT.certificate],
        "now": NOW,
        "public_key_sha256": leaf.public_key_sha256,
        "extended_key_usages": (CLIENT_AUTH,),
        "not_after_limit": leaf.not_after,
    }
    return verify_issued(leaf=leaf, **{**asked, **changed})


def refused(leaf: ParsedCertificate = LEAF, **changed: Any) -> str:
    with pytest.raises(ChainError) as caught:
        check(leaf, **changed)
    assert caught.value.message.endswith(".")
    return caught.value.code


@settings(max_examples=40, deadline=None)
@given(st.permutations([ROOT.certificate, SUB1.certificate, SUB2.certificate, *OTHERS]))
def test_a_chain_is_the_same_from_any_order(candidates: list[ParsedCertificate]) -> None:
    assert order_chain(LEAF, candidates) == [LEAF, SUB2.certificate, SUB1.certificate, ROOT.certificate]


def test_a_chain_ends_where_its_issuer_is_not_there() -> None:
    assert order_chain(LEAF, [ROOT.certificate, SUB2.certificate]) == [LEAF, SUB2.certificate]
    assert order_chain(LEAF, []) == [LEAF]
    assert order_chain(ROOT.certificate, [STRANGER.certificate]) == [ROOT.certificate]


def test_certificates_that_sign_each_other_make_no_endless_chain() -> None:
    one, other = new_key(), new_key()
    extensions = [(x509.BasicConstraints(ca=True, path_length=None), True), (key_usage(key_cert_sign=True), True)]
    first = certificate(one, name("A"), name("B"), other, not_after=NOW, extensions=extensions)
    second = certificate(other, name("B"), name("A"), one, not_after=NOW, extensions=extensions)
    assert order_chain(first, [second, first]) == [first, second]


def test_a_root_that_was_renewed_under_its_old_key_is_no_root_itself() -> None:
    """Named like its issuer, but signed by the key before it: the chain goes on to that one."""
    old = Issuer("Rolled root")
    new = Issuer("Rolled root", old)
    leaf = new.issue()
    path = order_chain(leaf, [old.certificate, new.certificate])
    assert path == [leaf, new.certificate, old.certificate]
    assert split_chain(stack(path, include_root=False)) == [leaf.pem, new.certificate.pem]
    assert check(leaf, chain=[new.certificate], anchors=[old.certificate]) == path


def test_the_stack_is_what_a_station_gets() -> None:
    path = check()
    assert split_chain(stack(path, include_root=False)) == [LEAF.pem, SUB2.certificate.pem, SUB1.certificate.pem]
    assert split_chain(stack(path, include_root=True))[3:] == [ROOT.certificate.pem]
    assert stack([ROOT.certificate], include_root=False) == ROOT.certificate.pem


def test_openssl_agrees_with_the_path(tmp_path: Path) -> None:
    leaf, *between = split_chain(stack(check(), include_root=False))
    fresh = Issuer("Fresh root", not_after=NOW + timedelta(days=36500))
    assert verifies_at(leaf, ROOT, between, tmp_path)
    assert not verifies_at(leaf, fresh, between, tmp_path)


def verifies_at(leaf: str, root: Issuer, between: list[str], folder: Path) -> bool:
    return verifies(
        leaf,
        root_pem=root.certificate.pem,
        between=between,
        purpose="sslclient",
        folder=folder,
        at=NOW,
        strict=False,
    )


@pytest.mark.parametrize("order", list(permutations([ROOT.certificate, SUB1.certificate, SUB2.certificate])))
def test_what_a_ca_returns_is_accepted_in_any_order(order: tuple[ParsedCertificate, ...]) -> None:
    assert check(chain=order) == [LEAF, SUB2.certificate, SUB1.certificate, ROOT.certificate]


def test_the_path_ends_at_the_first_anchor() -> None:
    assert check(anchors=[SUB1.certificate, ROOT.certificate]) == [LEAF, SUB2.certificate, SUB1.certificate]


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP521R1()), rsa.generate_private_key(65537, 2048), ed448.Ed448PrivateKey.generate()],
    ids=["EC-P521", "RSA", "ED448"],
)
def test_paths_of_every_kind_of_key(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    root = Issuer("Root", key=key)
    leaf = root.issue()
    assert check(leaf, chain=[], anchors=[root.certificate]) == [leaf, root.certificate]


def test_another_trust_domain_is_refused() -> None:
    assert refused(anchors=[Issuer("Vehicle root").certificate]) == "wrong_trust_domain"
    assert refused(anchors=[]) == "wrong_trust_domain"
    assert refused(chain=[]) == "wrong_trust_domain"
    assert refused(chain=[ROOT.certificate, SUB1.certificate, SUB2.certificate], anchors=[]) == "wrong_trust_domain"


def test_an_anchor_of_the_same_name_is_not_the_anchor() -> None:
    assert refused(anchors=[STRANGER.certificate]) == "signature"


def test_a_false_signature_is_refused() -> None:
    forged = bytearray(LEAF.der)
    forged[-1] ^= 0x01
    assert refused(parse_certificate(bytes(forged))) == "signature"


def test_an_impostor_in_the_chain_does_not_hide_the_issuer() -> None:
    impostors = [Issuer("Sub 2").certificate, Issuer("Sub 1").certificate]
    assert check(chain=[*impostors, SUB1.certificate, SUB2.certificate])[-1] == ROOT.certificate


def test_the_key_is_the_one_of_the_csr() -> None:
    assert refused(public_key_sha256="00" * 32) == "key_mismatch"
    assert check(public_key_sha256=None)[0] == LEAF


@pytest.mark.parametrize(
    "usages",
    [
        (),
        (ExtendedKeyUsageOID.SERVER_AUTH,),
        (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH),
        (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,),
    ],
)
def test_exactly_the_usages_that_were_asked_for(usages: tuple[x509.ObjectIdentifier, ...]) -> None:
    assert refused(SUB2.issue(usages=usages)) == "wrong_key_usage"


def test_no_usages_asked_for_are_none_checked() -> None:
    assert check(SUB2.issue(usages=()), extended_key_usages=())
    assert check(extended_key_usages=())


def test_a_key_that_may_not_sign_is_refused() -> None:
    encipherment = x509.KeyUsage(False, False, True, False, False, False, False, False, False)
    assert refused(SUB2.issue(extensions=[(encipherment, True)])) == "wrong_key_usage"


@pytest.mark.parametrize("now", [NOW - timedelta(hours=2), NOW + timedelta(days=181)])
def test_the_certificate_is_valid_now(now: Any) -> None:
    assert refused(now=now) == "not_valid"


def test_its_issuer_is_valid_now() -> None:
    expired = Issuer("Sub", ROOT, not_after=NOW - timedelta(minutes=1))
    assert refused(expired.issue(), chain=[expired.certificate]) == "not_valid"


def test_an_expired_twin_of_the_issuer_does_not_matter() -> None:
    """A renewed CA certificate of the same key: the path goes through the one that is valid."""
    renewed = Issuer("Sub", ROOT)
    expired = Issuer("Sub", ROOT, key=renewed.key, not_after=NOW - timedelta(minutes=1))
    leaf = renewed.issue()
    assert check(leaf, chain=[expired.certificate, renewed.certificate])[1] == renewed.certificate


def test_a_leaf_is_no_ca() -> None:
    authority = Issuer("CP-1", SUB1)
    assert refused(authority.certificate, chain=[SUB1.certificate], extended_key_usages=()) == "is_ca"
    signer = SUB2.issue(extensions=[(key_usage(key_cert_sign=True), True)])
    assert refused(signer) == "is_ca"


@pytest.mark.parametrize(
    "issuer", [Issuer("Sub", ROOT, ca=False), Issuer("Sub", ROOT, key_cert_sign=False)], ids=["no-ca", "no-cert-sign"]
)
def test_only_a_ca_issues(issuer: Issuer) -> None:
    assert refused(issuer.issue(), chain=[issuer.certificate]) == "wrong_key_usage"


def test_path_length_is_kept() -> None:
    below = Issuer("Sub 3", SUB2)
    leaf = below.issue()
    chain = [below.certificate, SUB2.certificate, SUB1.certificate]
    assert refused(leaf, chain=chain) == "wrong_key_usage"


def test_an_unknown_critical_extension_is_refused() -> None:
    unknown = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)
    assert refused(SUB2.issue(extensions=[unknown])) == "wrong_key_usage"
    constrained = Issuer("Sub", ROOT, extensions=[unknown])
    assert refused(constrained.issue(), chain=[constrained.certificate]) == "wrong_key_usage"


def test_it_ends_no_later_than_asked_for() -> None:
    assert refused(not_after_limit=LEAF.not_after - timedelta(seconds=1)) == "outlives"
    assert check(not_after_limit=None)


def test_a_flood_of_candidates_is_cut() -> None:
    many = [Issuer(f"Stranger {number}").certificate for number in range(60)]
    assert refused(chain=[*many, SUB1.certificate, SUB2.certificate]) == "wrong_trust_domain"
