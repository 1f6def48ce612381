"""Calls to servers of other parties, bounded in time and size, trusting only what was named.

The standard library's client on a socket of ours: `requests` lets REQUESTS_CA_BUNDLE in the environment replace the
anchors that were given, and neither it nor urllib3 ends an answer that trickles in for ever. Nothing here reads a
proxy, an anchor or a password from the environment, keeps a connection, or repeats a request. No message holds a
header, a body or a query.
"""

import contextlib
import http.client
import io
import ipaddress
import secrets
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import SplitResult, urljoin, urlsplit

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

SYSTEM_ANCHORS: Final = "system"
"""What an operator writes to trust the anchors of the operating system; nobody does unless it is written."""
_REDIRECTS: Final = frozenset({301, 302, 307, 308})
_MOST_REDIRECTS = 3
# Status line and headers, and what 100-continue answers may come before them.
_LARGEST_HEAD = 65536


class HttpError(Exception):
    """No usable answer came; the message says why, in one sentence.

    :ivar sent: whether the request may have arrived, so that its outcome is unknown.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.message = message
        self.sent = sent


class NotReached(HttpError):  # noqa: N818  # what happened, not who erred
    """No connection; nothing was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, sent=False)


class NotTrusted(NotReached):
    """The server, or we in its eyes, did not pass the TLS handshake; an operator has to look."""


class NoAnswer(HttpError):  # noqa: N818
    """The connection broke, or the time ran out, before the answer was complete."""

    def __init__(self, message: str) -> None:
        super().__init__(message, sent=True)


class BadAnswer(HttpError):  # noqa: N818
    """Something else than an HTTP answer of a size that is read, or one that leads to another server."""

    def __init__(self, message: str) -> None:
        super().__init__(message, sent=True)


@dataclass(frozen=True)
class Limits:
    """How long a call may take, and how much is read of its answer.

    :ivar connect_seconds: for each address of the server, TLS handshake included.
    :ivar read_seconds: the longest silence.
    :ivar total_seconds: the whole call, with every redirect. Looking up the host's name is bounded by the resolver.
    :ivar largest_body: octets of the answer.
    """

    connect_seconds: float = 5.0
    read_seconds: float = 15.0
    total_seconds: float = 30.0
    largest_body: int = 262144


@dataclass(frozen=True)
class ClientCertificate:
    """What we show in a TLS handshake.

    :ivar chain_pem: the certificate, then what stands above it.
    :ivar key_pem: its private key, not encrypted; it is on disk only encrypted, and only while OpenSSL reads it.
    """

    chain_pem: str
    key_pem: bytes = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """What a server answered.

    :ivar headers: by name in lower case; of a repeated one the first.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


def tls_context(anchors: str, certificate: ClientCertificate | None = None) -> ssl.SSLContext:
    """A client's context that trusts these anchors and nothing else.

    :param anchors: PEM; they may be roots or CAs below one. Or `SYSTEM_ANCHORS`.
    :raises ValueError: when the anchors, or the certificate and its key, cannot be used. It says nothing of the key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["http/1.1"])
    if anchors == SYSTEM_ANCHORS:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        try:
            context.load_verify_locations(cadata=anchors)
        except (ssl.SSLError, ValueError):
            raise ValueError("the trust anchors for the server are not certificates in PEM") from None
    if certificate is not None:
        _show(context, certificate)
    return context


class BoundedHttp:
    """One server, by its base address.

    :param base_url: https://host[:port][/path], or http:// where `context` is None.
    :param context: see `tls_context`.
    :param public_only: refuse addresses inside our own networks; for servers that a stranger names.
    :param clock: monotonic seconds.
    :raises ValueError: for an address that is not of this kind.
    """

    def __init__(
        self,
        base_url: str,
        context: ssl.SSLContext | None,
        *,
        limits: Limits = Limits(),
        public_only: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base = _checked(base_url, context)
        self._context = context
        self._limits = limits
        self._public_only = public_only
        self._clock = clock

    @property
    def server(self) -> str:
        """Scheme, host and port, as messages name it."""
        return f"{self._base.scheme}://{self._base.netloc}"

    def call(self, method: str, path: str, *, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        """Ask once, and follow redirects within the same server only (RFC 7030 §3.2.1).

        :param path: appended to the base address; begins with a slash, and may have a query.
        :raises HttpError: when there is no answer.
        """
        deadline = self._clock() + self._limits.total_seconds
        url = f"{self.server}{self._base.path.rstrip('/')}{path}"
        for _ in range(_MOST_REDIRECTS + 1):
            answer = self._ask(method, url, headers, body, deadline)
            if answer.status not in _REDIRECTS or "location" not in answer.headers:
                return answer
            url = self._followed(url, answer.headers["location"])
        raise BadAnswer(f"{self.server} sends us from address to address without an answer.")

    def _followed(self, url: str, location: str) -> str:
        try:
            target = urlsplit(urljoin(url, location))
            same = (target.scheme, target.hostname, _port(target)) == (
                self._base.scheme,
                self._base.hostname,
                _port(self._base),
            )
        except ValueError:
            same = False
        if not same or target.username is not None or not target.geturl().isascii():
            raise BadAnswer(f"{self.server} sends us to another server, and is not followed there; check its address.")
        return target._replace(fragment="").geturl()

    def _ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, deadline: float) -> Answer:
        parts = urlsplit(url)
        target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        with self._connected(deadline) as wire:
            kind = http.client.HTTPSConnection if self._context else http.client.HTTPConnection
            connection = kind(self._base.hostname or "", _port(self._base))
            connection.sock = wire  # the part of a socket that it uses
            with self._explained():
                connection.request(method, target, body=body, headers={**headers, "Connection": "close"})
                answer = self._read(connection)
        if len(answer.body) > self._limits.largest_body:
            raise BadAnswer(f"{self.server} answered with more than {self._limits.largest_body} octets.")
        return answer

    def _read(self, connection: http.client.HTTPConnection) -> Answer:
        try:
            with contextlib.closing(connection.getresponse()) as response:
                content = response.read(self._limits.largest_body + 1)
                # read(n) of a body that ends early returns what there was, and says nothing.
                if response.length and len(content) <= self._limits.largest_body:
                    raise NoAnswer(f"{self.server} broke off in the middle of its answer.")
                return Answer(response.status, _headers(response), content)
        except ValueError:
            # http.client raises it for lengths of chunks that are none.
            raise BadAnswer(f"{self.server} answered with something else than HTTP.") from None

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            raise NoAnswer(f"{self.server} did not answer in time.") from None
        except http.client.RemoteDisconnected:
            raise NoAnswer(f"{self.server} closed the connection without an answer.") from None
        except http.client.IncompleteRead:
            raise NoAnswer(f"{self.server} broke off in the middle of its answer.") from None
        except http.client.HTTPException:
            raise BadAnswer(f"{self.server} answered with something else than HTTP.") from None
        except OSError as error:
            # With TLS 1.3 a server judges our certificate only when the handshake is over for us (RFC 8446 §4.4.2).
            if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):
                raise NotTrusted(f"{self.server} refused us: {_reason(error)}.") from None
            raise NoAnswer(f"The connection to {self.server} broke: {_reason(error)}.") from None

    def _connected(self, deadline: float) -> "_Wire":
        host = self._base.hostname or ""
        try:
            found = socket.getaddrinfo(host, _port(self._base), type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise NotReached(f"The name {host} cannot be resolved.") from None
        allowed = [one for one in found if not self._public_only or ipaddress.ip_address(one[4][0]).is_global]
        if not allowed:
            raise NotReached(f"{host} has no public address, and no other may be called.")
        failure = f"{self.server} cannot be reached."
        for family, kind, protocol, _, address in allowed:
            left = min(self._limits.connect_seconds, deadline - self._clock())
            if left <= 0:
                break
            plain = socket.socket(family, kind, protocol)
            try:
                plain.settimeout(left)
                plain.connect(address)
                secured = self._context.wrap_socket(plain, server_hostname=host) if self._context else plain
            except ssl.SSLCertVerificationError as error:
                plain.close()
                raise NotTrusted(f"The certificate of {self.server} is not trusted: {error.verify_message}.") from None
            except ssl.SSLError as error:
                plain.close()
                raise NotTrusted(f"The TLS handshake with {self.server} failed: {_reason(error)}.") from None
            except OSError as error:
                plain.close()
                failure = f"{self.server} cannot be reached: {_reason(error)}."
                continue
            return _Wire(secured, deadline, self._limits, self._clock)
        raise NotReached(failure)


class _Wire:
    """As much of a socket as http.client uses, which ends at the deadline however slowly octets come."""

    def __init__(self, connected: socket.socket, deadline: float, limits: Limits, clock: Callable[[], float]) -> None:
        self._socket = connected
        self._deadline = deadline
        self._limits = limits
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Arriving(self._receive, _LARGEST_HEAD + 2 * self._limits.largest_body))

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(self._patience())
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            # A server that refuses our certificate says so and closes; what it said is still there to be read.
            self._socket.recv(1)
            raise

    def close(self) -> None:
        """http.client closes before it reads the body of an answer; the connection ends with the `with` block."""

    def _receive(self, buffer: memoryview) -> int:
        self._socket.settimeout(self._patience())
        return self._socket.recv_into(buffer)

    def _patience(self) -> float:
        left = min(self._limits.read_seconds, self._deadline - self._clock())
        if left <= 0:
            raise TimeoutError
        return left


class _Arriving(io.RawIOBase):
    """What comes in, up to so many octets; beyond, it is as if the other side had stopped."""

    def __init__(self, receive: Callable[[memoryview], int], most: int) -> None:
        super().__init__()
        self._receive = receive
        self._left = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # typeshed says any buffer
        if self._left <= 0:
            return 0
        count = self._receive(memoryview(buffer)[: self._left])
        self._left -= count
        return count


def _checked(base_url: str, context: ssl.SSLContext | None) -> SplitResult:
    wanted = "https" if context else "http"
    try:
        parts = urlsplit(base_url)
        port = parts.port
    except ValueError:
        raise ValueError(f"it is not an address of the form {wanted}://host/path") from None
    if parts.scheme != wanted or not parts.hostname or port == 0:
        raise ValueError(f"it is not an address of the form {wanted}://host/path")
    if parts.username is not None or parts.query or parts.fragment or "#" in base_url or "?" in base_url:
        raise ValueError("it has a user name, a query or a fragment, none of which belongs there")
    if any(character <= " " or character == "\x7f" for character in base_url):
        raise ValueError("it has blanks or control characters in it")
    return parts


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _headers(response: http.client.HTTPResponse) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in response.getheaders():
        found.setdefault(name.lower(), value)
    return found


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no reason given").replace("_", " ").lower()
    return (error.strerror or "no reason given").lower()


def _show(context: ssl.SSLContext, certificate: ClientCertificate) -> None:
    password = secrets.token_hex(16)
    try:
        key = load_pem_private_key(certificate.key_pem, None)
    except (ValueError, TypeError):
        raise ValueError("the private key of the client certificate is not an unencrypted key in PEM") from None
    sealed = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode()))
    with tempfile.NamedTemporaryFile() as file:
        file.write(sealed + certificate.chain_pem.encode())
        file.flush()
        try:
            context.load_cert_chain(file.name, password=password)
        except ssl.SSLError:
            raise ValueError("the client certificate and its private key do not belong together") from None
