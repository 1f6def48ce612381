"""A security log on its whole way: asked for, uploaded by the station to the web process, followed, kept."""

import http.client
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from pytest_django import Settings

from inventory.choices import StationLogState
from inventory.models import ManagedIdentity, SecurityEvent, StationLog
from inventory.services import artifacts, station_logs
from tests.end_to_end.plant import OPERATOR, Plant, StationThread, eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def web(plant: Plant, settings: Settings) -> Plant:
    """The plant with its web process, to which stations upload."""
    plant.start("web")
    address = f"http://127.0.0.1:{plant.ports['web']}"
    given = {"upload_url": address, "artifact_directory": plant.folder / "artifacts"}
    settings.CONFIGURATION = settings.CONFIGURATION.model_copy(update=given)
    eventually(lambda: answers(address), what=plant.situation)
    return plant


def answers(address: str) -> bool:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def fetch(identity: ManagedIdentity) -> StationLog:
    return station_logs.fetch(identity=identity, actor=OPERATOR, reason="Look for tampering")


def kept(log: StationLog) -> bytes:
    log = StationLog.objects.get(pk=log.pk)
    assert log.artifact is not None
    return b"".join(artifacts.store().read(log.artifact.name))


def test_a_station_uploads_its_log_and_tells_how_it_went(web: Plant, stations: StationThread) -> None:
    identity, station = stations.commission("CS-0001")
    stations.start([station])
    stations.call(station.wait_for(lambda one: one.registered, 60))
    stations.call(station.security_event("TamperDetectionActivated", "lid"))

    log = fetch(identity)

    eventually(
        lambda: StationLog.objects.filter(
            pk=log.pk, state=StationLogState.UPLOADED, station_status="Uploaded"
        ).exists(),
        what=web.situation,
    )
    assert b"TamperDetectionActivated" in kept(log)
    assert SecurityEvent.objects.filter(type="SecurityLogRetrieved", identity=identity).count() == 1
    assert "Traceback" not in web.log("web")


def test_a_body_of_unknown_length_is_taken_whole(web: Plant, stations: StationThread) -> None:
    identity, _ = stations.commission("CS-0002")
    log = fetch(identity)
    parts = urlsplit(station_logs.upload_address(log))
    pieces = [b"line %d\n" % number for number in range(20_000)]

    def chunks() -> Iterator[bytes]:
        yield from pieces

    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    connection.request("PUT", parts.path, chunks(), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
    status = connection.getresponse().status
    connection.close()

    assert status == 201, web.log("web")
    assert kept(log) == b"".join(pieces)
