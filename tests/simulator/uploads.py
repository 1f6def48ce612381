"""GetLog: the log is sent by HTTP PUT and its progress is told (OCPP 2.0.1 N01)."""

import asyncio
import http.client
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.simulator.events import EventKind
from tests.simulator.tls import client_context

if TYPE_CHECKING:
    from tests.simulator.station import SimulatedStation


class LogUploads:
    """At most one upload at a time; a new request cancels the one under way (N01.FR.12)."""

    def __init__(self, station: "SimulatedStation") -> None:
        self._station = station
        self._running: asyncio.Task[str] | None = None

    @property
    def busy(self) -> bool:
        return self._running is not None

    def cancel(self) -> None:
        if self._running:
            self._running.cancel()

    async def upload(self, location: str, request_id: int, content: bytes) -> None:
        """Send the content and LogStatusNotification before and after."""
        if urlsplit(location).scheme not in {"http", "https"}:
            await self._tell(request_id, "NotSupportedOperation")
            return
        context = client_context(self._station.enrolment.trusted_roots())
        work = asyncio.create_task(asyncio.to_thread(_put, location, content, context))
        self._running = work
        try:
            await self._tell(request_id, "Uploading")
            await asyncio.wait([work])
        finally:
            work.cancel()
            if self._running is work:
                self._running = None
        await self._tell(request_id, "AcceptedCanceled" if work.cancelled() else work.result())

    async def _tell(self, request_id: int, status: str) -> None:
        self._station.record(EventKind.LOG_UPLOAD, request_id=request_id, status=status)
        await self._station.dialect.log_status(self._station, request_id, status)


def _put(location: str, content: bytes, context: ssl.SSLContext) -> str:
    """:returns: how it ended, as an UploadLogStatusEnumType."""
    parts = urlsplit(location)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(host, parts.port, timeout=30, context=context)
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=30)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("PUT", target, content, {"Content-Type": "text/plain"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return "UploadFailure"
    finally:
        connection.close()
    if status in {401, 403}:
        return "PermissionDenied"
    return "Uploaded" if status < 300 else "UploadFailure"
