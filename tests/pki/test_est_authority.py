"""A scheme's CA over EST, behind the Protocol that all CAs have."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bfcerts.bounded_http import BoundedHttp, Limits, tls_context
from bfcerts.pki.authorities import build_scheme_authorities, read_authorities, read_credentials
from bfcerts.pki.authorities.base import (
    AskAgain,
    AuthorityError,
    AuthorityMisconfigured,
    AuthorityUnavailable,
    Candidates,
    CertificateAuthority,
    Pending,
    RequestRefused,
    RevocationReason,
    SignRequest,
    Throttled,
)
from bfcerts.pki.authorities.est import EstAuthority
from bfcerts.pki.certificates import ParsedCertificate, parse_certificate, split_chain
from bfcerts.pki.chains import stack, verify_issued
from bfcerts.pki.est.client import EstClient
from bfcerts.pki.profiles import profile
from tests.pki.est_server import HTML, EstServer, Scripted
from tests.pki.material import Issuer, parsed_csr
from tests.pki.openssl import verifies

DOMAIN = "iso15118_evse_leaf"
SECRET = "correct-horse-battery-staple"
CSR = parsed_csr("DE*ICE*E45B*78C")


class Clock:
    def __init__(self) -> None:
        # Ahead of the server's, which dates what it issues by its own.
        self.now = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=1)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EstServer]:
    with EstServer(tmp_path).running() as running:
        yield running


def authority(server: EstServer, clock: Clock, anchors: list[ParsedCertificate] | None = None) -> EstAuthority:
    http = BoundedHttp(server.url, tls_context(server.tls_root.certificate.pem), limits=Limits(total_seconds=10))
    client = EstClient(http, clock=clock)
    return EstAuthority(client, DOMAIN, anchors or [server.root.certificate], clock=clock)


def request(clock: Clock, **changed: Any) -> SignRequest:
    asked = SignRequest(
        token="3f1c9a52-7a0e-4c55-9d3e-0d8f5a1b2c3d",
        csr=CSR,
        profile=profile("evse_leaf"),
        subject=None,
        dns_names=(),
        not_before=clock() - timedelta(hours=1),
        not_after=clock() + timedelta(days=60),
    )
    return dataclasses.replace(asked, **changed)


def enrolments(server: EstServer) -> int:
    return sum(one.method == "POST" for one in server.seen)


def refused(call: Callable[[], object], kind: type[AuthorityError]) -> AuthorityError:
    with pytest.raises(AuthorityError) as caught:
        call()
    assert type(caught.value) is kind, caught.value
    assert caught.value.message.endswith(".")
    assert SECRET not in caught.value.message
    return caught.value


# -- enrolling --------------------------------------------------------------------------------------------------------


def test_a_leaf_is_enrolled_and_stacked_for_the_evse(server: EstServer, clock: Clock, tmp_path: Path) -> None:
    """Leaf, SUB2, SUB1 and no root, whatever the order in which they came."""
    est = authority(server, clock)
    asked = request(clock)

    signed = est.collect(est.submit(asked))

    assert signed is not None
    leaf = parse_certificate(signed.certificate_pem)
    chain = [parse_certificate(one) for one in split_chain(signed.chain_pem)]
    path = verify_issued(
        leaf=leaf,
        chain=chain,
        anchors=[server.root.certificate],
        now=clock(),
        public_key_sha256=CSR.public_key_sha256,
        extended_key_usages=(),
        not_after_limit=None,
    )
    assert chain == path[1:] == [server.sub2.certificate, server.sub1.certificate, server.root.certificate]
    stacked = split_chain(stack(path, include_root=False))
    assert stacked == [leaf.pem, server.sub2.certificate.pem, server.sub1.certificate.pem]
    assert verifies(
        leaf.pem,
        root_pem=server.root.certificate.pem,
        between=stacked[1:],
        purpose="any",
        folder=tmp_path,
        strict=False,
    )


def test_the_same_request_is_sent_once_while_this_process_lives(server: EstServer, clock: Clock) -> None:
    est = authority(server, clock)
    first = est.submit(request(clock))
    assert est.submit(request(clock)) == first
    assert est.collect(first) == est.collect(first)
    assert enrolments(server) == 1
    assert est.recover(request(clock), since=clock(), asked_at=clock(), now=clock()) == Candidates(())
    assert est.submit(request(clock, token="another")) != first
    assert enrolments(server) == 2


def test_after_the_process_died_the_same_request_is_sent_again_and_that_is_said(
    server: EstServer, clock: Clock
) -> None:
    authority(server, clock).submit(request(clock))
    reborn = authority(server, clock)

    recovery = reborn.recover(request(clock), since=clock(), asked_at=clock(), now=clock())

    assert isinstance(recovery, AskAgain)
    assert "may have issued a certificate" in recovery.why
    assert reborn.collect(reborn.submit(request(clock)))
    posts = [one.body for one in server.seen if one.method == "POST"]
    assert len(posts) == 2
    assert posts[0] == posts[1]


def test_a_request_that_was_taken_is_waited_for(server: EstServer, clock: Clock) -> None:
    est = authority(server, clock)
    server.scripted = [None, Scripted(202, headers={"Retry-After": "3600"})]
    pending = refused(lambda: est.submit(request(clock)), Pending)
    assert isinstance(pending, Pending)
    assert pending.retry_after == timedelta(hours=1)
    assert est.collect(est.submit(request(clock)))


def test_a_server_that_has_no_time_fails_nothing(server: EstServer, clock: Clock) -> None:
    est = authority(server, clock)
    for status in (429, 503):
        server.scripted = [Scripted(status, headers={"Retry-After": "30"})]
        throttled = refused(lambda: est.submit(request(clock)), Throttled)
        assert isinstance(throttled, Throttled)
        assert throttled.retry_after == timedelta(seconds=30)
    assert est.submit(request(clock))


@pytest.mark.parametrize(
    ("answer", "kind", "sent"),
    [
        (Scripted(500), AuthorityUnavailable, True),
        (Scripted(200, HTML, "text/html"), AuthorityUnavailable, True),
        (Scripted(400, b"the CN is not registered"), RequestRefused, None),
        (Scripted(401), AuthorityMisconfigured, None),
        (Scripted(404), AuthorityMisconfigured, None),
    ],
)
def test_what_answers_mean_to_a_job(
    answer: Scripted, kind: type[AuthorityError], sent: bool | None, server: EstServer, clock: Clock
) -> None:
    est = authority(server, clock)
    server.scripted = [None, answer]
    error = refused(lambda: est.submit(request(clock)), kind)
    assert getattr(error, "sent", None) is sent
    assert est.submit(request(clock))


@pytest.mark.parametrize("status", [500, 400, 404, 503])
def test_without_the_cas_nothing_is_sent(status: int, server: EstServer, clock: Clock) -> None:
    """First the CAs, then the certificate: so that none is lost because its chain cannot be had."""
    est = authority(server, clock)
    server.scripted = [Scripted(status)]
    with pytest.raises(AuthorityError) as caught:
        est.submit(request(clock))
    assert not isinstance(caught.value, RequestRefused)
    assert not getattr(caught.value, "sent", False)
    assert enrolments(server) == 0


def test_the_cas_are_asked_for_once_an_hour(server: EstServer, clock: Clock) -> None:
    est = authority(server, clock)
    for number in range(3):
        est.submit(request(clock, token=f"token-{number}"))
    assert [one.method for one in server.seen] == ["GET", "POST", "POST", "POST"]
    clock.now += timedelta(hours=1)
    est.submit(request(clock, token="later"))
    assert [one.method for one in server.seen[4:]] == ["GET", "POST"]


def test_a_ca_that_is_new_since_then_is_asked_for_and_the_leaf_is_not_lost_meanwhile(
    server: EstServer, clock: Clock
) -> None:
    known = server.ca_certificates
    server.ca_certificates = lambda: [server.root.certificate.pem, server.sub1.certificate.pem]
    est = authority(server, clock)
    server.scripted = [None, None, Scripted(500)]
    unavailable = refused(lambda: est.submit(request(clock)), AuthorityUnavailable)
    assert isinstance(unavailable, AuthorityUnavailable)
    assert unavailable.sent
    server.ca_certificates = known

    signed = est.collect(est.submit(request(clock)))

    assert signed is not None
    assert signed.certificate_pem == parse_certificate(server.issued[0]).pem
    assert len(split_chain(signed.chain_pem)) == 3
    assert enrolments(server) == 1


def test_a_certificate_of_a_server_whose_clock_is_ahead_waits_until_it_is_valid(
    server: EstServer, clock: Clock
) -> None:
    est = authority(server, clock)
    clock.now -= timedelta(minutes=5)
    pending = refused(lambda: est.submit(request(clock)), Pending)
    assert isinstance(pending, Pending)
    clock.now += pending.retry_after
    assert est.collect(est.submit(request(clock)))
    assert enrolments(server) == 1


def test_a_chain_that_does_not_verify_is_shown_as_it_came(server: EstServer, clock: Clock) -> None:
    """Whoever records certificates refuses it and says so."""
    other = Issuer("V2G Root CA G9").certificate
    est = authority(server, clock, anchors=[other])
    signed = est.collect(est.submit(request(clock)))
    assert signed is not None
    assert [parse_certificate(one) for one in split_chain(signed.chain_pem)][-1] == server.root.certificate


def test_a_certificate_of_another_key_is_shown_for_whoever_verifies(server: EstServer, clock: Clock) -> None:
    est = authority(server, clock)
    other = server.sign(parsed_csr("DE*ICE*E45B*78C").der)
    server.beside = lambda leaf: [other]
    signed = est.collect(est.submit(request(clock)))
    assert signed is not None
    assert signed.certificate_pem == parse_certificate(other).pem
    server.beside = lambda leaf: [server.sub2.certificate.pem]
    refused(lambda: est.submit(request(clock, token="another")), AuthorityUnavailable)


def test_what_est_cannot_say_is_refused_before_anything_is_sent(server: EstServer, clock: Clock) -> None:
    est = authority(server, clock)
    for changed in ({"subject": (("CN", "x"),)}, {"dns_names": ("a.example",)}):
        refused(lambda changed=changed: est.submit(request(clock, **changed)), RequestRefused)  # type: ignore[misc]
    assert not server.seen
    assert est.submit(request(clock, subject=CSR.subject))


def test_references_of_nobody_and_revocations(server: EstServer, clock: Clock) -> None:
    est = authority(server, clock)
    unknown = refused(lambda: est.collect("est:nothing"), RequestRefused)
    assert isinstance(unknown, RequestRefused)
    assert unknown.code == "unknown_reference"
    by_hand = refused(lambda: est.revoke("4a", RevocationReason.SUPERSEDED), RequestRefused)
    assert isinstance(by_hand, RequestRefused)
    assert by_hand.code == "not_supported"
    assert not server.seen


# -- which CA it is ---------------------------------------------------------------------------------------------------


def test_of_the_cas_that_a_server_names_the_newest_that_issues_is_described(server: EstServer, clock: Clock) -> None:
    description = authority(server, clock).describe()
    assert parse_certificate(description.certificate_pem) == server.sub2.certificate
    assert split_chain(description.chain_pem) == [
        one.certificate.pem for one in (server.sub2, server.sub1, server.root)
    ]
    assert description.root_pem == server.root.certificate.pem
    assert (description.mode, description.usable, description.longest_validity) == ("EST", True, None)
    assert description.reference == f"est:{DOMAIN}:{server.url}"


def test_the_root_need_not_be_among_them_and_an_anchor_need_not_be_a_root(server: EstServer, clock: Clock) -> None:
    server.ca_certificates = lambda: [server.sub2.certificate.pem, server.sub1.certificate.pem]
    assert authority(server, clock).describe().root_pem == server.root.certificate.pem
    server.ca_certificates = lambda: [server.sub2.certificate.pem]
    below = authority(server, clock, anchors=[server.sub1.certificate]).describe()
    assert below.root_pem == server.sub1.certificate.pem


def test_cas_that_lead_to_no_anchor_are_not_used(server: EstServer, clock: Clock) -> None:
    est = authority(server, clock, anchors=[Issuer("V2G Root CA G9").certificate])
    refused(est.describe, AuthorityMisconfigured)
    server.ca_certificates = lambda: [server.client_root.certificate.pem]
    refused(authority(server, clock).describe, AuthorityMisconfigured)


# -- how it is set up -------------------------------------------------------------------------------------------------


def configured(
    server: EstServer, folder: Path, credentials: dict[str, Any] | None = None, **changed: Any
) -> CertificateAuthority:
    (folder / "roots.pem").write_text(server.root.certificate.pem)
    (folder / "server.pem.anchors").write_text(server.tls_root.certificate.pem)
    values = {
        "url": server.url,
        "anchors": str(folder / "roots.pem"),
        "server_anchors": str(folder / "server.pem.anchors"),
        **changed,
    }
    authorities = read_authorities(json.dumps({DOMAIN: values}))
    shown = read_credentials(SecretStr(json.dumps({DOMAIN: credentials}))) if credentials else {}
    return build_scheme_authorities(authorities, shown, possible=[DOMAIN])[DOMAIN]


def test_a_scheme_is_set_up_with_its_paths_headers_and_credentials(
    server: EstServer, clock: Clock, tmp_path: Path
) -> None:
    """As Open Plug&Charge has them: its own paths, a header, and tokens of an authorization server."""
    server.enrol_path = "/.well-known/est/cpo/simpleenroll/ISO15118-2"
    server.ca_certificates_path = "/cpo/cacerts/ISO15118-2/secp256r1/"
    server.scripted = [Scripted(200, b'{"access_token": "a-token", "expires_in": 86400}', "application/json")]
    certificate, key = server.client_certificate()
    (tmp_path / "client.pem").write_text(certificate.pem)
    (tmp_path / "client.key").write_bytes(key)

    est = configured(
        server,
        tmp_path,
        {
            "client_id": "us",
            "client_secret": SECRET,
            "token_url": f"{server.url}/oauth/token",
            "token_anchors": str(tmp_path / "server.pem.anchors"),
            "audience": "https://eu.example",
            "certificate": str(tmp_path / "client.pem"),
            "key": str(tmp_path / "client.key"),
        },
        cacerts=server.ca_certificates_path,
        simpleenroll=server.enrol_path,
        headers={"Content-Transfer-Encoding": "application/pkcs10"},
    )

    assert est.collect(est.submit(request(clock)))
    token, cas, enrolled = server.seen
    assert json.loads(token.body)["client_secret"] == SECRET
    assert cas.headers["content-transfer-encoding"] == "application/pkcs10"
    assert enrolled.headers["authorization"] == "Bearer a-token"
    assert enrolled.certificate


@pytest.mark.parametrize("way", ["user", "token", "token_file"])
def test_every_way_to_authenticate(way: str, server: EstServer, clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET)
    ways = {
        "user": {"user": "cpo", "password": SECRET},
        "token": {"token": SECRET},
        "token_file": {"token_file": str(tmp_path / "token")},
    }
    est = configured(server, tmp_path, ways[way])
    assert est.submit(request(clock))
    assert server.seen[-1].headers["authorization"].startswith("Basic " if way == "user" else f"Bearer {SECRET}")


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("{", "is not JSON"),
        ("[]", "the whole"),
        ('{"iso15118_evse_leaf": {}}', "iso15118_evse_leaf.url"),
        ('{"iso15118_evse_leaf": {"url": "https://a", "anchors": "/a", "server_anchors": "system", "x": 1}}', "x"),
        (
            '{"iso15118_evse_leaf": {"url": "https://a", "anchors": "/a", "server_anchors": "system", "cacerts": "a"}}',
            "cacerts",
        ),
    ],
)
def test_authorities_that_cannot_be_read(text: str, because: str) -> None:
    with pytest.raises(AuthorityMisconfigured, match=because) as caught:
        read_authorities(text)
    assert caught.value.message.startswith("BFCERTS_EST_AUTHORITIES ")
    assert caught.value.message.endswith(".")


@pytest.mark.parametrize(
    ("values", "because"),
    [
        ({"user": "a"}, "given together"),
        ({"certificate": "/a"}, "given together"),
        ({"client_id": "a", "client_secret": SECRET}, "given together"),
        ({"user": "a", "password": SECRET, "token": SECRET}, "give one of"),
        ({}, "give a user"),
        ({"token": [SECRET]}, "token"),
        ({"password_": SECRET}, "password_"),
    ],
)
def test_credentials_that_cannot_be_read_are_not_repeated(values: dict[str, Any], because: str) -> None:
    with pytest.raises(AuthorityMisconfigured, match=because) as caught:
        read_credentials(SecretStr(json.dumps({DOMAIN: values})))
    assert SECRET not in caught.value.message


def test_a_set_up_that_cannot_be_used(server: EstServer, tmp_path: Path) -> None:
    certificate, _ = server.client_certificate()
    _, other_key = server.client_certificate()
    (tmp_path / "client.pem").write_text(certificate.pem)
    (tmp_path / "client.key").write_bytes(other_key)
    pair = {"certificate": str(tmp_path / "client.pem"), "key": str(tmp_path / "client.key")}
    (tmp_path / "empty.pem").write_text("")
    for changed, shown, because in (
        ({"url": "http://localhost"}, None, "not an address of the form https"),
        ({"anchors": str(tmp_path / "empty.pem")}, None, "holds no anchors"),
        ({"anchors": str(tmp_path / "missing.pem")}, None, "cannot be read"),
        ({"server_anchors": str(tmp_path / "empty.pem")}, None, "trust anchors"),
        ({}, pair, "do not belong together"),
        ({}, {"client_id": "a", "client_secret": SECRET, "token_url": "http://a/t"}, "form https"),
        ({}, {"token": f"{SECRET} and more"}, "a token is printable ASCII"),
    ):
        with pytest.raises(AuthorityMisconfigured, match=because) as caught:
            configured(server, tmp_path, shown, **changed)
        assert SECRET not in caught.value.message


def test_only_for_what_a_scheme_may_issue_and_credentials_only_for_what_is_set_up(
    server: EstServer, tmp_path: Path
) -> None:
    values = {"url": server.url, "anchors": str(tmp_path / "a"), "server_anchors": "system"}
    authorities = read_authorities(json.dumps({"charger_identity": values}))
    with pytest.raises(AuthorityMisconfigured, match="names charger_identity; what it may name is iso15118_evse_leaf"):
        build_scheme_authorities(authorities, {}, possible=[DOMAIN])
    shown = read_credentials(SecretStr(json.dumps({DOMAIN: {"token": SECRET}})))
    with pytest.raises(AuthorityMisconfigured, match="BFCERTS_EST_CREDENTIALS names iso15118_evse_leaf"):
        build_scheme_authorities({}, shown, possible=[DOMAIN])
