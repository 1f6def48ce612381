"""An EST server that shares no code with ours: the standard library's HTTP server, and openssl to sign and to pack.

It is as picky as libest (requests in lines of at most 76, base64), and can be told to answer as servers of the field
do: other wrappings, other orders, pages of HTML, patience, silence.
"""

import base64
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from bfcerts.pki.certificates import ParsedCertificate
from tests.pki.material import Issuer, PrivateKey, new_key

LATER = datetime.now(UTC).replace(microsecond=0) + timedelta(days=400)
BEFORE = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
LEAF_EXTENSIONS = """\
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyAgreement
subjectKeyIdentifier = hash
"""
HTML = b"<!DOCTYPE html><html><body><h1>We are back soon</h1></body></html>"


@dataclass(frozen=True)
class Scripted:
    """One answer that is given instead of the usual one."""

    status: int
    body: bytes = b""
    content_type: str | None = "text/plain"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Seen:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    certificate: dict[str, Any] | None


def lines(content: bytes, length: int = 64, end: bytes = b"\n") -> bytes:
    encoded = base64.b64encode(content)
    return b"".join(encoded[start : start + length] + end for start in range(0, len(encoded), length))


def armoured(content: bytes, label: str = "PKCS7") -> bytes:
    return f"-----BEGIN {label}-----\n".encode() + lines(content) + f"-----END {label}-----\n".encode()


class EstServer:
    """The server and its CA: V2G Root, CPO Sub1, and two CPO Sub2, of which the second one issues.

    :ivar scripted: answered first, in order, whatever is asked; an entry None is the usual answer.
    :ivar wrap: from DER of PKCS #7 to the body.
    :ivar beside: which certificates the answer to an enrolment holds, given the leaf's PEM.
    :ivar authorise: whether a request is let in; a status and headers where it is not.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = Issuer("V2G Root CA G9", not_after=LATER)
        self.sub1 = Issuer("CPO Sub1 CA G9.1", self.root, path_length=1, not_after=LATER)
        self.former_sub2 = Issuer("CPO Sub2 CA G9.1.1", self.sub1, path_length=0, not_after=LATER - timedelta(days=9))
        self.sub2 = Issuer("CPO Sub2 CA G9.1.2", self.sub1, path_length=0, not_after=LATER)
        self.tls_root = Issuer("EST server root", not_after=LATER)
        self.client_root = Issuer("EST client root", not_after=LATER)
        self.enrol_path = "/.well-known/est/simpleenroll"
        self.renew_path = "/.well-known/est/simplereenroll"
        self.ca_certificates_path = "/.well-known/est/cacerts"
        self.content_type: str | None = "application/pkcs7-mime; smime-type=certs-only"
        self.wrap: Callable[[bytes], bytes] = lines
        self.beside: Callable[[str], list[str]] = lambda leaf: [leaf]
        self.ca_certificates: Callable[[], list[str]] = lambda: [
            one.certificate.pem for one in (self.root, self.former_sub2, self.sub1, self.sub2)
        ]
        self.authorise: Callable[[Seen], tuple[int, dict[str, str]] | None] = lambda seen: None
        self.scripted: list[Scripted | None] = []
        self.seen: list[Seen] = []
        self.issued: list[str] = []
        self.hang: Callable[[BaseHTTPRequestHandler], None] | None = None
        self.closing = threading.Event()
        self.port = 0
        self.highest_tls = ssl.TLSVersion.TLSv1_3
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @contextmanager
    def running(self) -> Iterator["EstServer"]:
        """Serve on a port of its own while the block runs."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        server.daemon_threads = True
        server.socket = self._context().wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self.closing.set()
            server.shutdown()
            thread.join()
            server.server_close()

    def client_certificate(self, name: str = "CPMS") -> tuple[ParsedCertificate, bytes]:
        """A certificate that the server takes from clients, and its key in PEM."""
        key = new_key()
        certificate = self.client_root.issue(
            name, key=key, usages=(ExtendedKeyUsageOID.CLIENT_AUTH,), not_before=BEFORE, not_after=LATER
        )
        return certificate, key_pem(key)

    def certificates(self, pems: list[str]) -> bytes:
        """PKCS #7 in DER, as openssl packs it: in the order that it is given."""
        place = self.folder / "pack.pem"
        place.write_text("".join(pems))
        return _openssl("crl2pkcs7", "-nocrl", "-certfile", str(place), "-outform", "DER")

    def sign(self, request: bytes) -> str:
        """Have openssl issue what a request asks for."""
        with self._lock:
            return self._sign(request)

    def _sign(self, request: bytes) -> str:
        files = {
            "request.pem": armoured(request, "CERTIFICATE REQUEST"),
            "sub2.pem": self.sub2.certificate.pem.encode(),
            "sub2.key": key_pem(self.sub2.key),
            "leaf.cnf": LEAF_EXTENSIONS.encode(),
        }
        for name, content in files.items():
            (self.folder / name).write_bytes(content)
        pem = _openssl(
            "x509", "-req", "-in", str(self.folder / "request.pem"), "-CA", str(self.folder / "sub2.pem"), "-CAkey",
            str(self.folder / "sub2.key"), "-days", "60", "-sha256", "-extfile", str(self.folder / "leaf.cnf"),
        ).decode()  # fmt: skip
        self.issued.append(pem)
        return pem

    def _context(self) -> ssl.SSLContext:
        key = new_key()
        names = (x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        leaf = self.tls_root.issue(
            "localhost",
            key=key,
            usages=(ExtendedKeyUsageOID.SERVER_AUTH,),
            extensions=[names],
            not_before=BEFORE,
            not_after=LATER,
        )
        place = self.folder / "server.pem"
        place.write_bytes(key_pem(key) + leaf.pem.encode())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = self.highest_tls
        context.load_cert_chain(place)
        context.load_verify_locations(cadata=self.client_root.certificate.pem)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def answer(self, seen: Seen) -> Scripted:
        """What is answered when nothing is scripted."""
        if seen.method == "GET" and seen.path == self.ca_certificates_path:
            return self._packed(self.ca_certificates())
        if seen.method != "POST" or seen.path not in (self.enrol_path, self.renew_path):
            return Scripted(404, b"no such operation")
        if seen.headers.get("content-type") != "application/pkcs10":
            return Scripted(415, b"application/pkcs10 only")
        if any(len(line) > 76 for line in seen.body.splitlines()):
            return Scripted(400, b"lines of at most 76")
        request = _openssl("base64", "-d", stdin=seen.body.replace(b"\r", b""))
        return self._packed(self.beside(self.sign(request)))

    def _packed(self, pems: list[str]) -> Scripted:
        with self._lock:
            return Scripted(200, self.wrap(self.certificates(pems)), self.content_type)


def key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _handler(server: EstServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            certificate = self.connection.getpeercert()
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen = Seen(self.command, self.path, headers, body, certificate)
            server.seen.append(seen)
            if server.hang:
                server.hang(self)
                return
            refused = server.authorise(seen)
            if refused:
                self._write(Scripted(refused[0], b"who are you", headers=refused[1]))
                return
            scripted = server.scripted.pop(0) if server.scripted else None
            self._write(scripted or server.answer(seen))

        def _write(self, given: Scripted) -> None:
            self.send_response(given.status)
            if given.content_type:
                self.send_header("Content-Type", given.content_type)
            for name, value in given.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(given.body)))
            self.end_headers()
            self.wfile.write(given.body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: what is asked is in `seen`."""

    return Handler


def _openssl(*arguments: str, stdin: bytes = b"") -> bytes:
    done = subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=False)  # noqa: S607  # whichever the machine has
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
