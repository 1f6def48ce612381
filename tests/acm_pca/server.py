"""The wire of the stand-in: AWS JSON 1.1 over HTTP on a free port of loopback, with failures on demand."""

import json
import socket
import threading
import uuid
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import botocore.session
from botocore.model import ServiceModel

from tests.acm_pca.errors import ServiceError
from tests.acm_pca.reports import Bucket
from tests.acm_pca.service import IssuedCertificate, PrivateCaService
from tests.acm_pca.validation import parse_members

_TARGET = "ACMPrivateCA."
_CONTENT_TYPE = "application/x-amz-json-1.1"


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class _Failure:
    """What happens to one call instead of, or after, doing it."""

    error: ServiceError | None = None
    lose_answer: bool = False
    refuse_connection: bool = False


@dataclass
class _Script:
    planned: dict[str, deque[_Failure]] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class AcmPcaServer:
    """AWS Private CA on loopback, as a context manager: `with AcmPcaServer(folder, ["charger_identity"]) as server`.

    Point boto3 at `url` with any credentials; `arns` maps each trust domain to its CA.

    :param directory: where the stand-in's own CAs live.
    :param clock: the service's time; idempotency tokens are remembered for five minutes of it.
    :param store: the S3 that audit reports are written to; without it none can be made.
    """

    def __init__(
        self,
        directory: Path,
        trust_domains: Collection[str],
        *,
        clock: Callable[[], datetime] = _utc_now,
        store: Bucket | None = None,
    ) -> None:
        self.service = PrivateCaService(directory, trust_domains, clock, store)
        self._script = _Script()
        self._listen(0)

    def _listen(self, port: int) -> None:
        self._http = _HttpServer(self.service, self._script, port)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        """Nobody listens at its address for a while."""
        port = self._http.server_address[1]
        self._stop()
        yield
        self._listen(port)
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        self._http.shutdown()
        self._http.close_connections()
        self._http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def arns(self) -> dict[str, str]:
        return {domain: authority.arn for domain, authority in self.service.authorities.items()}

    @property
    def issued(self) -> list[IssuedCertificate]:
        """Every certificate made, in order."""
        return list(self.service.issued)

    def calls(self, operation: str) -> list[dict[str, Any]]:
        """The parameters of every call of an operation that arrived, refused ones included."""
        with self._script.lock:
            return [parameters for name, parameters in self._script.calls if name == operation]

    def answer_after(self, *, polls: int = 0, signing_takes: timedelta = timedelta(0)) -> None:
        """How long issuing stays in progress: so many polls, and so long by the server's clock."""
        self.service.polls_until_ready = polls
        self.service.signing_takes = signing_takes

    def report_after(self, *, polls: int = 0, takes: timedelta = timedelta(0)) -> None:
        """How long an audit report is being created: so many polls, and so long by the server's clock."""
        self.service.reports.polls_until_done = polls
        self.service.reports.creation_takes = takes

    def fail_reports(self, times: int = 1) -> None:
        """Let the next audit reports end as FAILED."""
        self.service.reports.failing = times

    def spoil_reports(self, spoil: Callable[[bytes], bytes]) -> None:
        """Write something else than the audit report."""
        self.service.reports.spoil = spoil

    def answer_instead(self, **members: str) -> None:
        """Answer GetCertificate with another Certificate or CertificateChain than the right one."""
        self.service.substitute = members

    def set_status(self, trust_domain: str, status: str) -> None:
        """Put a CA into another state, such as DISABLED."""
        self.service.authorities[trust_domain].status = status

    def set_usage_mode(self, trust_domain: str, usage_mode: str) -> None:
        """GENERAL_PURPOSE or SHORT_LIVED_CERTIFICATE."""
        self.service.authorities[trust_domain].usage_mode = usage_mode

    def throttle(self, operation: str, *, times: int = 1) -> None:
        """Answer the next calls of an operation with ThrottlingException."""
        self.fail(operation, "ThrottlingException", "Rate exceeded", times=times)

    def fail(self, operation: str, name: str, message: str = "", *, status: int = 400, times: int = 1) -> None:
        """Answer the next calls of an operation with an error and do nothing."""
        self._plan(operation, _Failure(error=ServiceError(name, message, status)), times)

    def lose_answer(self, operation: str, *, times: int = 1) -> None:
        """Do what the next calls of an operation ask for, and close the connection instead of answering."""
        self._plan(operation, _Failure(lose_answer=True), times)

    def drop(self, operation: str, *, times: int = 1) -> None:
        """Close the connection of the next calls of an operation without doing anything."""
        self._plan(operation, _Failure(refuse_connection=True), times)

    def _plan(self, operation: str, failure: _Failure, times: int) -> None:
        with self._script.lock:
            self._script.planned.setdefault(operation, deque()).extend([failure] * times)


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, service: PrivateCaService, script: _Script, port: int) -> None:
        self.service = service
        self.script = script
        self.model: ServiceModel = botocore.session.get_session().get_service_model("acm-pca")
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def opened(self, connection: socket.socket) -> None:
        with self._connections_lock:
            self._connections.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._connections_lock:
            self._connections.discard(connection)

    def close_connections(self) -> None:
        """Wake the threads that wait for a next request on a kept connection."""
        with self._connections_lock:
            for connection in self._connections:
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer is one packet; in two the client would wait for the second
    server: _HttpServer

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)

    def finish(self) -> None:
        self.server.closed(self.connection)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are recorded, not printed."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        try:
            operation, parameters = self._parse(body)
            failure = self._record(operation, parameters)
            if failure.refuse_connection:
                self.close_connection = True
                return
            if failure.error is not None:
                raise failure.error
            answer = self.server.service.perform(operation, parameters)
        except ServiceError as error:
            self._answer(error.status, {"__type": error.name, "message": error.message})
            return
        if failure.lose_answer:
            self.close_connection = True
            return
        self._answer(200, answer)

    def _parse(self, body: bytes) -> tuple[str, dict[str, Any]]:
        if "/acm-pca/aws4_request" not in self.headers.get("Authorization", ""):
            raise ServiceError("MissingAuthenticationTokenException", "The request is not signed.", 403)
        operation = self.headers.get("X-Amz-Target", "").removeprefix(_TARGET)
        if self.headers.get("Content-Type") != _CONTENT_TYPE or operation not in self.server.model.operation_names:
            raise ServiceError("UnknownOperationException", "This is not a call of ACM Private CA.")
        try:
            values = json.loads(body)
        except ValueError:
            raise ServiceError("SerializationException", "The request is not JSON.") from None
        return operation, parse_members(self.server.model.operation_model(operation).input_shape, values)

    def _record(self, operation: str, parameters: dict[str, Any]) -> _Failure:
        script = self.server.script
        with script.lock:
            script.calls.append((operation, parameters))
            planned = script.planned.get(operation)
            return planned.popleft() if planned else _Failure()

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", _CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
        self.end_headers()
        self.wfile.write(body)
