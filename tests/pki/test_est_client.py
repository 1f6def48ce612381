"""Our EST client before a server that is not ours."""

import base64
import json
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from bfcerts.authorizations import Authorization, Basic, Bearer, BearerFile, ClientCredentials, TokenRequest
from bfcerts.bounded_http import BoundedHttp, ClientCertificate, Limits, tls_context
from bfcerts.pki.certificates import ParsedCertificate, parse_certificate
from bfcerts.pki.est.client import (
    Enrolled,
    EstClient,
    EstError,
    EstMisconfigured,
    EstNotAuthorised,
    EstRefused,
    EstThrottled,
    EstUnavailable,
    WaitingUntil,
)
from bfcerts.pki.est.messages import Paths
from tests.pki.est_server import HTML, LATER, EstServer, Scripted, armoured, key_pem, lines
from tests.pki.material import new_key, parsed_csr

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
CSR = parsed_csr("DE*ICE*E45B*78C")
QUICK = Limits(connect_seconds=5, read_seconds=0.3, total_seconds=0.6, largest_body=20000)
USUAL = Limits()
SECRET = "correct-horse-battery-staple"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EstServer]:
    with EstServer(tmp_path).running() as running:
        yield running


def client(
    server: EstServer,
    *,
    authorization: Authorization | None = None,
    certificate: ClientCertificate | None = None,
    anchors: str | None = None,
    limits: Limits = USUAL,
    paths: Paths | None = None,
    base: str = "",
    headers: dict[str, str] | None = None,
) -> EstClient:
    context = tls_context(anchors or server.tls_root.certificate.pem, certificate)
    http = BoundedHttp(server.url + base, context, limits=limits)
    return EstClient(http, paths=paths, authorization=authorization, headers=headers, clock=lambda: NOW)


def leaf_of(outcome: Enrolled | WaitingUntil) -> ParsedCertificate:
    assert isinstance(outcome, Enrolled)
    return next(one for one in outcome.certificates if one.public_key_sha256 == CSR.public_key_sha256)


def failure(call: Callable[[], object], kind: type[EstError]) -> str:
    with pytest.raises(EstError) as caught:
        call()
    assert type(caught.value) is kind, caught.value
    assert caught.value.message.endswith(".")
    assert SECRET not in caught.value.message
    return caught.value.message


# -- enrolling --------------------------------------------------------------------------------------------------------


def test_a_certificate_is_enrolled_and_the_cas_are_fetched(server: EstServer) -> None:
    est = client(server)

    leaf = leaf_of(est.enrol(CSR.der))
    cas = est.ca_certificates()

    assert leaf.subject_text == "CN=DE*ICE*E45B*78C"
    assert leaf.signed_by(server.sub2.certificate)
    assert {one.subject_text for one in cas} == {
        "CN=V2G Root CA G9", "CN=CPO Sub1 CA G9.1", "CN=CPO Sub2 CA G9.1.1", "CN=CPO Sub2 CA G9.1.2"
    }  # fmt: skip
    assert [one.path for one in server.seen] == [server.enrol_path, server.ca_certificates_path]
    assert server.seen[0].headers["content-transfer-encoding"] == "base64"


def test_renewal_has_a_path_of_its_own_or_is_a_new_enrolment(server: EstServer) -> None:
    leaf_of(client(server).renew(CSR.der))
    leaf_of(client(server, paths=Paths(renew=None)).renew(CSR.der))
    assert [one.path for one in server.seen] == [server.renew_path, server.enrol_path]


WRAPPINGS: dict[str, Callable[[bytes], bytes]] = {
    "64 columns": lines,
    "76 columns and CRLF": lambda der: lines(der, 76, b"\r\n"),
    "one line": base64.b64encode,
    "one line and a line feed": lambda der: base64.b64encode(der) + b"\n",
    "tabs and blanks": lambda der: lines(der, 40, b" \t\r\n"),
    "without padding": lambda der: base64.b64encode(der).rstrip(b"="),
    "DER": lambda der: der,
    "PEM": armoured,
    "PEM as CMS": lambda der: armoured(der, "CMS"),
    "base64 of PEM": lambda der: base64.b64encode(armoured(der)),
    "byte order mark": lambda der: b"\xef\xbb\xbf" + armoured(der),
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_every_wrapping_of_certificates_is_read(wrapping: str, server: EstServer) -> None:
    server.wrap = WRAPPINGS[wrapping]
    assert leaf_of(client(server).enrol(CSR.der)) == parse_certificate(server.issued[0])
    assert len(client(server).ca_certificates()) == 4


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/pkcs7",
        "application/pkcs7-mime",
        "APPLICATION/PKCS7-MIME;charset=UTF-8; smime-type=certs-only",
        "application/x-pkcs7-mime; charset=utf-8",
        "application/octet-stream",
        "text/plain; charset=us-ascii",
    ],
)
def test_what_servers_call_certificates_is_taken(content_type: str | None, server: EstServer) -> None:
    server.content_type = content_type
    leaf_of(client(server).enrol(CSR.der))


def test_other_certificates_and_another_order_make_no_difference(server: EstServer) -> None:
    others = [one.certificate.pem for one in (server.root, server.sub1, server.sub2)]
    server.beside = lambda leaf: [*others, leaf, *others]
    outcome = client(server).enrol(CSR.der)
    assert leaf_of(outcome) == parse_certificate(server.issued[0])
    assert isinstance(outcome, Enrolled)
    assert len(outcome.certificates) == 4


def test_certificates_in_pem_instead_of_a_container(server: EstServer) -> None:
    server.scripted = [Scripted(200, server.ca_certificates()[0].encode() + server.ca_certificates()[1].encode())]
    assert len(client(server).ca_certificates()) == 2


def test_paths_of_a_scheme_below_a_base_address_and_headers_of_its_own(server: EstServer) -> None:
    server.enrol_path = "/gate/.well-known/est/cpo/simpleenroll/ISO15118-2"
    server.ca_certificates_path = "/gate/cpo/cacerts/ISO15118-2/secp256r1/"
    paths = Paths("/cpo/cacerts/ISO15118-2/secp256r1/", "/.well-known/est/cpo/simpleenroll/ISO15118-2", None)
    est = client(server, paths=paths, base="/gate/", headers={"Content-Transfer-Encoding": "application/pkcs10"})
    leaf_of(est.renew(CSR.der))
    assert est.ca_certificates()
    assert server.seen[1].headers["content-transfer-encoding"] == "application/pkcs10"
    assert Paths.labelled("cpo").enrol == "/.well-known/est/cpo/simpleenroll"


# -- patience ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("3600", timedelta(hours=1)),
        ("0", timedelta(seconds=1)),
        ("Mon, 01 Jun 2026 12:30:00 GMT", timedelta(minutes=30)),
        ("Sunday, 31-May-26 12:30:00 GMT", timedelta(seconds=1)),
        ("99999999999999999999", timedelta(hours=24)),
        ("Fri, 01 Jan 2126 00:00:00 GMT", timedelta(hours=24)),
        ("soon", timedelta(seconds=60)),
        (None, timedelta(seconds=60)),
    ],
)
def test_a_request_that_was_taken_waits_as_long_as_the_server_asks(
    header: str | None, wait: timedelta, server: EstServer
) -> None:
    server.scripted = [Scripted(202, headers={"Retry-After": header} if header else {}), None]
    est = client(server)
    assert est.enrol(CSR.der) == WaitingUntil(NOW + wait)
    leaf_of(est.enrol(CSR.der))
    assert server.seen[0].body == server.seen[1].body


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_has_no_time_is_left_alone(status: int, server: EstServer) -> None:
    server.scripted = [Scripted(status, b"busy", headers={"Retry-After": "120"})]
    with pytest.raises(EstThrottled, match=f"answered {status} \\(busy\\)") as caught:
        client(server).enrol(CSR.der)
    assert caught.value.wait == timedelta(minutes=2)


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, EstRefused),
        (422, EstRefused),
        (401, EstNotAuthorised),
        (403, EstNotAuthorised),
        (404, EstMisconfigured),
        (405, EstMisconfigured),
        (501, EstMisconfigured),
        (204, EstMisconfigured),
        (408, EstUnavailable),
        (500, EstUnavailable),
        (502, EstUnavailable),
        (504, EstUnavailable),
    ],
)
def test_what_a_status_means(status: int, kind: type[EstError], server: EstServer) -> None:
    server.scripted = [Scripted(status, b"" if status == 204 else b"because\r\nof  this.\x00")]
    message = failure(lambda: client(server).enrol(CSR.der), kind)
    assert message.startswith(f"https://localhost:{server.port} answered {status}")
    assert status == 204 or "(because of this)." in message


def test_the_sentences_of_a_scheme_and_its_trace_id_are_told(server: EstServer) -> None:
    said = {"errorMessages": ["CN does not match", "no such CPO"], "traceId": "9f1c0de2-8d0f-4a52-b5ff-4e5b3a1d9f00"}
    server.scripted = [Scripted(400, json.dumps(said).encode(), "application/json")]
    assert "(CN does not match; no such CPO; trace id 9f1c0de2-8d0f-4a52-b5ff-4e5b3a1d9f00)." in failure(
        lambda: client(server).enrol(CSR.der), EstRefused
    )


@pytest.mark.parametrize("body", [b"[1]", b"{", b"[" * 100000, b'{"errorMessages": "x"}', b"\xff\xfe"])
def test_errors_in_json_that_say_nothing(body: bytes, server: EstServer) -> None:
    server.scripted = [Scripted(400, body, "application/problem+json")]
    assert failure(lambda: client(server).enrol(CSR.der), EstRefused).endswith("answered 400.")


@pytest.mark.parametrize(
    ("body", "content_type", "because"),
    [
        (HTML, "text/html", "'text/html' and not application/pkcs7-mime"),
        (HTML, "text/plain", "neither PKCS #7 nor base64"),
        (b"", "application/pkcs7-mime", "empty"),
        (b"\x30\x03\x02\x01\x01", "application/pkcs7-mime", "cannot be read|can be read"),
    ],
)
def test_an_answer_that_is_none_is_waited_out(body: bytes, content_type: str, because: str, server: EstServer) -> None:
    server.scripted = [Scripted(200, body, content_type)]
    with pytest.raises(EstUnavailable, match=because) as caught:
        client(server).enrol(CSR.der)
    assert caught.value.sent
    assert "<" not in caught.value.message


# -- who we are -------------------------------------------------------------------------------------------------------


def test_basic_bearer_and_a_client_certificate_are_shown(server: EstServer, tmp_path: Path) -> None:
    wanted = base64.b64encode(f"cpo:{SECRET}".encode()).decode()
    certificate, key = server.client_certificate("CPMS 1")
    shown = ClientCertificate(certificate.pem, key)
    assert "PRIVATE" not in repr(shown)
    assert SECRET not in repr(Basic("cpo", SECRET)) + repr(Bearer(SECRET))

    leaf_of(client(server, authorization=Basic("cpo", SECRET)).enrol(CSR.der))
    leaf_of(client(server, authorization=Bearer(SECRET)).enrol(CSR.der))
    leaf_of(client(server, certificate=shown).enrol(CSR.der))

    assert [one.headers.get("authorization") for one in server.seen] == [f"Basic {wanted}", f"Bearer {SECRET}", None]
    assert [bool(one.certificate) for one in server.seen] == [False, False, True]
    assert (server.seen[2].certificate or {})["subject"] == ((("commonName", "CPMS 1"),),)
    assert not [one for one in tmp_path.rglob("*") if key in one.read_bytes()]


def test_a_server_that_repeats_our_secret_does_not_get_it_into_a_message(server: EstServer) -> None:
    encoded = base64.b64encode(f"cpo:{SECRET}".encode()).decode()
    server.scripted = [Scripted(400, f"not {SECRET} nor {encoded}, nor {'A' * 60}".encode()) for _ in range(2)]
    message = failure(lambda: client(server, authorization=Basic("cpo", SECRET)).enrol(CSR.der), EstRefused)
    assert message.endswith("(not […] nor […], nor […]).")
    assert "(not […] nor" in failure(lambda: client(server, authorization=Bearer(SECRET)).enrol(CSR.der), EstRefused)


def test_a_token_that_was_renewed_in_its_file_is_shown_at_once(server: EstServer, tmp_path: Path) -> None:
    place = tmp_path / "token"
    place.write_text("first-token\n")
    est = client(server, authorization=BearerFile(place))

    def renewed(seen: object) -> tuple[int, dict[str, str]] | None:
        if server.seen[-1].headers["authorization"] != "Bearer second-token":
            place.write_text("second-token\n")
            return 401, {"WWW-Authenticate": "Bearer"}
        return None

    server.authorise = renewed
    leaf_of(est.enrol(CSR.der))
    assert len(server.seen) == 2


def test_a_token_that_stays_refused_is_shown_once(server: EstServer, tmp_path: Path) -> None:
    place = tmp_path / "token"
    place.write_text(SECRET)
    server.authorise = lambda seen: (401, {})
    failure(lambda: client(server, authorization=BearerFile(place)).enrol(CSR.der), EstNotAuthorised)
    assert len(server.seen) == 1
    place.unlink()
    assert "No token can be read" in failure(
        lambda: client(server, authorization=BearerFile(place)).enrol(CSR.der), EstUnavailable
    )


@pytest.mark.parametrize("as_json", [True, False])
def test_a_token_is_fetched_kept_and_fetched_again_when_it_is_refused(as_json: bool, server: EstServer) -> None:
    tokens = iter(["one-token", "two-token", "three-token"])
    now = [0.0]

    def token() -> Scripted:
        return Scripted(
            200, json.dumps({"access_token": next(tokens), "expires_in": 86400}).encode(), "application/json"
        )

    http = BoundedHttp(server.url, tls_context(server.tls_root.certificate.pem))
    request = TokenRequest("us", SECRET, audience="https://eu.example", as_json=as_json)
    est = client(server, authorization=ClientCredentials(http, request, clock=lambda: now[0]))
    server.scripted = [token(), None, None, token(), Scripted(401), token(), None]

    leaf_of(est.enrol(CSR.der))
    leaf_of(est.enrol(CSR.der))
    now[0] = 86400.0 - 60
    leaf_of(est.enrol(CSR.der))

    shown = [one.headers.get("authorization") for one in server.seen]
    assert shown == [
        None, "Bearer one-token", "Bearer one-token", None, "Bearer two-token", None, "Bearer three-token"
    ]  # fmt: skip
    asked = server.seen[0]
    assert asked.path == "/oauth/token"
    if as_json:
        assert json.loads(asked.body) == {
            "client_id": "us", "client_secret": SECRET, "audience": "https://eu.example",
            "grant_type": "client_credentials",
        }  # fmt: skip
    else:
        assert b"grant_type=client_credentials" in asked.body


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Scripted(401, b"bad secret"), EstNotAuthorised),
        (Scripted(503, b"later"), EstUnavailable),
        (Scripted(200, b"{}", "application/json"), EstUnavailable),
        (Scripted(200, '{"access_token": "\u20ac"}'.encode(), "application/json"), EstUnavailable),
        (Scripted(200, HTML, "text/html"), EstUnavailable),
    ],
)
def test_no_token_no_enrolment(answer: Scripted, kind: type[EstError], server: EstServer) -> None:
    http = BoundedHttp(server.url, tls_context(server.tls_root.certificate.pem))
    server.scripted = [answer]
    failure(
        lambda: client(server, authorization=ClientCredentials(http, TokenRequest("us", SECRET))).enrol(CSR.der), kind
    )
    assert [one.path for one in server.seen] == ["/oauth/token"]


# -- whom we trust, and how long we wait ------------------------------------------------------------------------------


def test_only_the_anchors_that_were_given_are_trusted(server: EstServer) -> None:
    other = server.client_root.certificate.pem
    message = failure(lambda: client(server, anchors=other).enrol(CSR.der), EstNotAuthorised)
    assert "is not trusted: self-signed certificate in certificate chain" in message or "not trusted" in message
    failure(lambda: client(server, anchors="system").enrol(CSR.der), EstNotAuthorised)
    assert not server.seen


def test_another_name_than_the_servers_is_not_trusted(server: EstServer) -> None:
    http = BoundedHttp(f"https://127.0.0.1:{server.port}", tls_context(server.tls_root.certificate.pem))
    failure(lambda: EstClient(http).ca_certificates(), EstNotAuthorised)


@pytest.mark.parametrize("highest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_that_the_server_does_not_take(highest: ssl.TLSVersion, tmp_path: Path) -> None:
    strict = EstServer(tmp_path)
    strict.highest_tls = highest
    key = new_key()
    stranger = strict.tls_root.issue("stranger", key=key, not_after=LATER)
    with strict.running():
        est = client(strict, certificate=ClientCertificate(stranger.pem, key_pem(key)))
        with pytest.raises(EstError, match=r"alert unknown ca|broke") as caught:
            est.enrol(CSR.der)
    # With TLS 1.3 the reset of the connection may overtake the alert that explains it.
    assert isinstance(caught.value, EstNotAuthorised) or highest is ssl.TLSVersion.TLSv1_3
    assert not strict.seen


@pytest.mark.parametrize(
    ("chain", "key", "because"),
    [
        ("own", b"no key " + SECRET.encode(), "not an unencrypted key"),
        ("own", "other", "do not belong together"),
        ("none", "own", "do not belong together"),
    ],
)
def test_a_client_certificate_that_cannot_be_used_says_nothing_of_its_key(
    chain: str, key: str | bytes, because: str, server: EstServer
) -> None:
    own, own_key = server.client_certificate()
    _, other_key = server.client_certificate()
    keys: dict[str | bytes, bytes] = {"own": own_key, "other": other_key}
    with pytest.raises(ValueError, match=because) as caught:
        tls_context(
            server.tls_root.certificate.pem, ClientCertificate(own.pem if chain == "own" else "", keys.get(key, b"no"))
        )
    assert SECRET not in str(caught.value)


def test_anchors_that_are_none() -> None:
    for anchors in ("", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        with pytest.raises(ValueError, match="trust anchors"):
            tls_context(anchors)


def test_nothing_of_the_environment_is_used(server: EstServer, tmp_path: Path) -> None:
    """A proxy or anchors named there change nothing (`REQUESTS_CA_BUNDLE` overrides requests' own)."""
    other = tmp_path / "other.pem"
    other.write_text(server.client_root.certificate.pem)
    values = {
        "HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "REQUESTS_CA_BUNDLE": str(other),
        "CURL_CA_BUNDLE": str(other), "SSL_CERT_FILE": str(other),
    }  # fmt: skip
    before = dict(os.environ)
    os.environ.update(values)
    try:
        leaf_of(client(server).enrol(CSR.der))
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost", "https://", "ftp://localhost", "https://user:secret@localhost", "https://localhost/?a=b",
        "https://localhost/#a", "https://local host/", "https://localhost:0", "https://localhost:99999", "localhost",
    ],
)  # fmt: skip
def test_addresses_that_are_not_called(url: str, server: EstServer) -> None:
    with pytest.raises(ValueError, match=r"it is not an address|it has"):
        BoundedHttp(url, tls_context(server.tls_root.certificate.pem))


def test_a_redirect_within_the_server_is_followed_and_none_elsewhere(server: EstServer) -> None:
    server.renew_path = "/elsewhere/simpleenroll"
    moved = Scripted(307, headers={"Location": "/elsewhere/simpleenroll"})
    server.scripted = [moved]
    leaf_of(client(server, authorization=Bearer(SECRET)).enrol(CSR.der))
    assert server.seen[1].path == "/elsewhere/simpleenroll"

    for target in (
        "https://example.com/x", f"http://localhost:{server.port}/x", f"https://localhost:{server.port + 1}/x",
        f"https://a@localhost:{server.port}/x", "//example.com/x", "https://[::/", "/\u00e9",
    ):  # fmt: skip
        server.scripted = [Scripted(302, headers={"Location": target})]
        message = failure(lambda: client(server, authorization=Bearer(SECRET)).enrol(CSR.der), EstUnavailable)
        assert "sends us to another server" in message
    server.scripted = [moved] * 9
    assert "from address to address" in failure(lambda: client(server).enrol(CSR.der), EstUnavailable)


def _silent(server: EstServer) -> Callable[[BaseHTTPRequestHandler], None]:
    def wait(handler: BaseHTTPRequestHandler) -> None:
        server.closing.wait(10)

    return wait


def _trickling(server: EstServer) -> Callable[[BaseHTTPRequestHandler], None]:
    """An octet now and then, for ever: no silence is ever long enough."""

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/pkcs7\r\n\r\n")
        while not server.closing.wait(0.05):
            try:
                handler.wfile.write(b"M")
                handler.wfile.flush()
            except OSError:
                return

    return trickle


def _trickling_head(server: EstServer) -> Callable[[BaseHTTPRequestHandler], None]:
    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not server.closing.wait(0.05):
            try:
                handler.wfile.write(b"x")
                handler.wfile.flush()
            except OSError:
                return

    return trickle


@pytest.mark.parametrize("hang", [_silent, _trickling, _trickling_head])
def test_a_server_that_does_not_come_to_an_end_is_left(
    hang: Callable[[EstServer], Callable[[BaseHTTPRequestHandler], None]], server: EstServer
) -> None:
    server.hang = hang(server)
    with pytest.raises(EstUnavailable, match="did not answer in time") as caught:
        client(server, limits=QUICK).enrol(CSR.der)
    assert caught.value.sent


@pytest.mark.parametrize(
    ("said", "because"),
    [
        (b"", "closed the connection without an answer"),
        (b"SMTP ready\r\n", "something else than HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nMII", "in the middle"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nMII", "in the middle"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nMII\r\n0\r\n\r\n",
            "something else|in the middle",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nMII", "not with certificates|something|broke"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + b"M" * 90000, "more than 20000 octets"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"M" * 90000, "more than 20000 octets"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500, "something else than HTTP"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20000, "something else|closed the connection|in the middle"),
    ],
)
def test_answers_that_break_off_or_never_end(said: bytes, because: str, server: EstServer) -> None:
    def say(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        try:
            handler.wfile.write(said)
        except OSError:
            return

    server.hang = say
    with pytest.raises(EstUnavailable, match=because) as caught:
        client(server, limits=QUICK).enrol(CSR.der)
    assert caught.value.sent


def test_a_server_that_is_not_there_was_sent_nothing(server: EstServer) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        http = BoundedHttp(
            f"https://localhost:{taken.getsockname()[1]}", tls_context(server.tls_root.certificate.pem), limits=QUICK
        )
        with pytest.raises(EstUnavailable, match="cannot be reached: connection refused") as caught:
            EstClient(http).enrol(CSR.der)
    assert not caught.value.sent


def test_a_server_that_takes_connections_and_says_nothing_was_sent_nothing(server: EstServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        http = BoundedHttp(
            f"https://localhost:{mute.getsockname()[1]}",
            tls_context(server.tls_root.certificate.pem),
            limits=Limits(connect_seconds=0.2, total_seconds=0.5),
        )
        with pytest.raises(EstUnavailable, match="it took too long") as caught:
            EstClient(http).enrol(CSR.der)
    assert not caught.value.sent


def test_an_address_inside_our_networks_is_not_called_for_a_stranger(server: EstServer) -> None:
    http = BoundedHttp(server.url, tls_context(server.tls_root.certificate.pem), public_only=True)
    with pytest.raises(EstUnavailable, match="has no public address"):
        EstClient(http).ca_certificates()
    assert not server.seen
