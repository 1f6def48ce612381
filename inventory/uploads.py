"""The door for uploads of stations: HTTP PUT or POST to an address that GetLog named.

There is no sign-in: the address is the key.

Bodies are passed on in pieces and never held; a few uploads at a time, so that slow stations cannot take all threads
of the web process from the people who work with it.
"""

import threading
from collections.abc import Iterator
from http import HTTPStatus

from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.http import HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from bfcerts.artifacts import ArtifactError, BrokenOffError
from inventory.services import station_logs

CHUNK = 64 * 1024
AT_ONCE = 3
RETRY_SECONDS = "30"

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
        station_logs.receive(token=token, chunks=_chunks(request))
    except station_logs.UploadRefusedError as error:
        return _say(HTTPStatus(error.status), error.message)
    except (BrokenOffError, MultiPartParserError):
        return _say(HTTPStatus.BAD_REQUEST, "The upload broke off; send it again in whole.")
    except ArtifactError:
        return _say(HTTPStatus.SERVICE_UNAVAILABLE, "The log could not be kept now; try again soon.", retry=True)
    finally:
        _places.release()
    return _say(HTTPStatus.CREATED, "The log was kept.")


def _chunks(request: HttpRequest) -> Iterator[bytes]:
    """The body in pieces: as it is, in chunked transfer coding, or as the one file of a form."""
    if request.content_type == "multipart/form-data":
        request.upload_handlers = [TemporaryFileUploadHandler(request)]
        file = next(iter(request.FILES.values()), None)
        if not isinstance(file, UploadedFile):
            raise MultiPartParserError("a form without a file")
        yield from file.chunks(CHUNK)
        return
    # Django reads no further than Content-Length, which a chunked body does not have; the server ends such a body.
    chunked = "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower()
    source = request.META["wsgi.input"] if chunked else request
    while chunk := source.read(CHUNK):
        yield chunk


def _say(status: HTTPStatus, sentence: str, *, retry: bool = False) -> HttpResponse:
    headers = {"Retry-After": RETRY_SECONDS} if retry else {}
    return HttpResponse(f"{sentence}\n", status=status, content_type="text/plain; charset=utf-8", headers=headers)
