"""The door for uploads, as real stations knock: the web server itself, over HTTP, and bodies of every kind."""

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings as django_settings
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from inventory import uploads
from inventory.models import Artifact, StationLog
from inventory.services import artifacts, station_logs
from tests.support import OPERATOR, ControlPlane, charger

pytestmark = pytest.mark.django_db(transaction=True)

CONTENT = b"2026-11-20T10:00:00Z StartupOfTheDevice\n" * 5000


@pytest.fixture
def address(control_plane: ControlPlane, live_server: LiveServer, settings: Settings, tmp_path: Path) -> str:
    """Where the one station of these tests may upload."""
    given = {"artifact_directory": tmp_path / "artifacts", "upload_largest_mib": 1, "upload_url": live_server.url}
    settings.CONFIGURATION = settings.CONFIGURATION.model_copy(update=given)
    log = station_logs.fetch(identity=charger("CS-1"), actor=OPERATOR, reason="test", now=control_plane.clock())
    return station_logs.upload_address(log)


def send(
    address: str, body: bytes | Iterator[bytes] | None, method: str = "PUT", **headers: str
) -> tuple[int, str, http.client.HTTPResponse]:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, parts.path, body, named)
        response = connection.getresponse()
        return response.status, response.read().decode(), response
    finally:
        connection.close()


def kept() -> bytes:
    artifact = Artifact.objects.get()
    return b"".join(artifacts.store().read(artifact.name))


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("name", ["", "/SecurityLog_CS-1.txt"])
def test_a_log_is_taken_as_it_is(address: str, method: str, name: str) -> None:
    status, text, _ = send(address + name, CONTENT, method, Content_Type="text/plain")

    assert (status, text) == (201, "The log was kept.\n")
    assert kept() == CONTENT


def test_a_form_with_a_file_is_taken(address: str) -> None:
    body = (
        b'--edge\r\nContent-Disposition: form-data; name="file"; filename="../../etc/passwd"\r\n\r\n'
        + CONTENT
        + b"\r\n--edge--\r\n"
    )

    status, _, _ = send(address, body, "POST", Content_Type="multipart/form-data; boundary=edge")

    assert status == 201
    assert kept() == CONTENT


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'--edge\r\nContent-Disposition: form-data; name="a"\r\n\r\nno file\r\n--edge--\r\n', "; boundary=edge"),
        (b"no form at all", "; boundary=edge"),
        (b"no boundary", ""),
    ],
)
def test_a_form_without_a_file_is_refused_and_another_try_is_possible(
    address: str, body: bytes, content_type: str
) -> None:
    status, text, _ = send(address, body, "POST", Content_Type="multipart/form-data" + content_type)
    assert (status, text) == (400, "The upload broke off; send it again in whole.\n")

    assert send(address, CONTENT)[0] == 201


def test_a_body_that_breaks_off_is_not_kept(address: str) -> None:
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=30) as raw:
        raw.sendall(f"PUT {parts.path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nhalf".encode())
        raw.shutdown(socket.SHUT_WR)
        assert raw.recv(100).startswith(b"HTTP/1.1 400")

    assert not Artifact.objects.exists()
    assert send(address, CONTENT)[0] == 201


def test_what_is_too_large_is_refused(address: str) -> None:
    status, text, _ = send(address, b"x" * (1024 * 1024 + 1))

    assert status == 413
    assert "more than 1 MiB" in text
    assert not Artifact.objects.exists()


def test_a_form_that_is_too_large_is_not_put_on_the_disk_first(
    address: str, tmp_path: Path, settings: Settings
) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path)
    parts = urlsplit(address)
    head = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="log"\r\n\r\n'
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=30) as raw:
        announced = 1024 * 1024 + 32 * 1024  # what a form may have beside its file
        raw.sendall(
            f"POST {parts.path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {announced}\r\n"
            "Content-Type: multipart/form-data; boundary=edge\r\n\r\n".encode()
            + head
            + b"x" * (announced - len(head))
        )
        assert raw.recv(100).startswith(b"HTTP/1.1 413")

    assert send(address, CONTENT)[0] == 201


def test_what_announces_too_much_is_refused_before_it_is_read(address: str) -> None:
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=30) as raw:
        raw.sendall(f"PUT {parts.path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n".encode())
        assert raw.recv(100).startswith(b"HTTP/1.1 413")


def test_no_address_comes_into_the_log(address: str, caplog: pytest.LogCaptureFixture) -> None:
    Path(str(django_settings.CONFIGURATION.artifact_directory)).write_text("in the way")

    assert send(address, CONTENT)[0] == 503

    written = " ".join(record.getMessage() for record in caplog.records if record.name == "django.request")
    assert "/upload/…" in written
    assert address.rsplit("/", 1)[1] not in written


class Seconds:
    """A clock for paces."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("seconds", "octets", "ends"),
    [
        (30.0, 0, False),
        (31.0, 31 * 1024, False),
        (31.0, 31 * 1024 - 1, True),
        (900.0, 900 * 1024, False),
        (901.0, 901 * 1024, True),
    ],
)
def test_an_upload_that_trickles_is_ended(seconds: float, octets: int, ends: bool) -> None:
    clock = Seconds()
    pace = uploads.Pace(None, clock)
    pace.take(b"x" * octets)

    clock.now = seconds
    pace.judge()

    assert pace.too_slow == ends
    if ends:
        with pytest.raises(TimeoutError):
            pace.take(b"x")


def test_an_address_works_once_and_an_invented_one_never(address: str) -> None:
    assert send(address, CONTENT)[0] == 201
    assert send(address, CONTENT)[0] == 410
    assert send(address + "x", CONTENT)[0] == 403
    assert send(address.rsplit("/", 1)[0] + "/1", CONTENT)[0] == 403


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_nothing_can_be_read_or_deleted_there(address: str, method: str) -> None:
    assert send(address, None, method)[0] == 405


def test_a_store_that_fails_is_tried_again_later(address: str) -> None:
    Path(str(django_settings.CONFIGURATION.artifact_directory)).write_text("in the way")

    status, text, response = send(address, CONTENT)

    assert (status, text) == (503, "The log could not be kept now; try again soon.\n")
    assert response.headers["Retry-After"]
    assert StationLog.objects.get().upload_begun_at is None


def test_slow_uploads_leave_room_for_people(address: str) -> None:
    for _ in range(uploads.AT_ONCE):
        assert uploads._places.acquire(blocking=False)
    try:
        status, text, response = send(address, CONTENT)
    finally:
        for _ in range(uploads.AT_ONCE):
            uploads._places.release()

    assert (status, text) == (503, "Too many uploads at once; try again soon.\n")
    assert response.headers["Retry-After"]
    assert send(address, CONTENT)[0] == 201
