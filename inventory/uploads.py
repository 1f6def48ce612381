"""The door for uploads of stations: HTTP PUT or POST to an address that GetLog named.

There is no sign-in: the address is the key. Bodies are passed on in pieces and never held. A few uploads at a time, and
none that trickles, so that slow stations cannot take all threads of the web process from the people who work with it.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any, Self

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.http import HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from bfcerts.artifacts import ArtifactError, BrokenOffError, TooLargeError
from inventory.services import station_logs

CHUNK = 4 * 1024
AT_ONCE = 3
RETRY_SECONDS = "30"
LOOK_SECONDS = 10.0
GRACE_SECONDS = 30.0
SLOWEST = 1024
"""Bytes a second, on average since the beginning, once the grace is over."""
LONGEST_SECONDS = station_logs.UPLOAD_TAKES.total_seconds()
"""Of a whole upload: what takes longer is given up by then, and not kept."""
FORM_AROUND_FILE = 64 * 1024
"""Bytes that a form may have beside its file."""

_places = threading.BoundedSemaphore(AT_ONCE)


@csrf_exempt
@require_http_methods(["PUT", "POST"])
def upload(request: HttpRequest, token: str, file_name: str = "") -> HttpResponse:
    """Take a log in.

    :param file_name: some stations append one to the address; it says nothing to us.
    """
    if not _places.acquire(blocking=False):
        return _say(HTTPStatus.SERVICE_UNAVAILABLE, "Too many uploads at once; try again soon.", retry=True)
    try:
        with Pace(request.META.get("gunicorn.socket")) as pace:
            station_logs.receive(token=token, chunks=_chunks(request, pace))
    except station_logs.UploadRefusedError as error:
        return _say(HTTPStatus(error.status), error.message)
    except (BrokenOffError, MultiPartParserError):
        return _say(HTTPStatus.BAD_REQUEST, "The upload broke off; send it again in whole.")
    except ArtifactError:
        return _say(HTTPStatus.SERVICE_UNAVAILABLE, "The log could not be kept now; try again soon.", retry=True)
    finally:
        _places.release()
    return _say(HTTPStatus.CREATED, "The log was kept.")


class Pace:
    """Ends an upload that trickles: reading blocks, so somebody else has to look at the clock."""

    def __init__(self, connection: socket.socket | None, clock: Callable[[], float] = time.monotonic) -> None:
        """
        :param connection: what the body is read from; without it, an upload ends only when its next piece comes.
        """
        self._connection = connection
        self._clock = clock
        self._began = clock()
        self._received = 0
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, name="upload-pace", daemon=True)
        self.too_slow = False

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def take(self, chunk: bytes) -> bytes:
        """Count a piece that came.

        :raises TimeoutError: when all of it came too slowly.
        """
        self._received += len(chunk)
        self.judge()
        if self.too_slow:
            raise TimeoutError("the upload trickles")
        return chunk

    def judge(self) -> None:
        """Whether what came until now came quickly enough."""
        elapsed = self._clock() - self._began
        trickles = elapsed > GRACE_SECONDS and self._received < elapsed * SLOWEST
        self.too_slow = self.too_slow or trickles or elapsed > LONGEST_SECONDS

    def _look(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self.judge()
            if self.too_slow and self._connection is not None:
                self._connection.shutdown(socket.SHUT_RD)
                return


def _largest() -> int:
    return int(settings.CONFIGURATION.upload_largest_mib) * 1024 * 1024


class _Limited(TemporaryFileUploadHandler):
    """Puts the file of a form on the disk, and stops at the limit rather than after it."""

    def __init__(self, request: HttpRequest, pace: Pace) -> None:
        super().__init__(request)
        self._pace = pace
        self._size = 0

    def receive_data_chunk(self, raw_data: bytes, start: int) -> Any:
        try:
            self._size += len(self._pace.take(raw_data))
            if self._size > _largest():
                raise TooLargeError("More came than may be kept.")
        except BaseException:  # however it ends, nothing of it stays on the disk
            self.file.close()  # which also deletes it
            raise
        return super().receive_data_chunk(raw_data, start)


def _chunks(request: HttpRequest, pace: Pace) -> Iterator[bytes]:
    """The body in pieces: as it is, in chunked transfer coding, or as the one file of a form."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    if length.isdigit() and int(length) > _largest() + FORM_AROUND_FILE:
        raise TooLargeError("More is announced than may be kept.")
    if request.content_type == "multipart/form-data":
        request.upload_handlers = [_Limited(request, pace)]
        file = next(iter(request.FILES.values()), None)
        if not isinstance(file, UploadedFile):
            raise MultiPartParserError("a form without a file")
        yield from file.chunks()
        return
    # Django reads no further than Content-Length, which a chunked body does not have; the server ends such a body.
    chunked = "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower()
    source = request.META["wsgi.input"] if chunked else request
    left = int(length) if length.isdigit() else 0
    while chunk := source.read(CHUNK):
        left -= len(chunk)
        yield pace.take(chunk)
    if not chunked and left > 0:
        raise ConnectionError("the body is shorter than was announced")


def _say(status: HTTPStatus, sentence: str, *, retry: bool = False) -> HttpResponse:
    headers = {"Retry-After": RETRY_SECONDS} if retry else {}
    return HttpResponse(f"{sentence}\n", status=status, content_type="text/plain; charset=utf-8", headers=headers)
