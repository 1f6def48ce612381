"""Given-parts of tests of station logs: asking, the address that the station is told, the upload, and its word."""

from django.conf import settings as django_settings

from bfcerts.ocpp import secret_payload
from bfcerts.ocpp.canonical import Evidence
from bfcerts.ocpp.models import OutboxCommand
from inventory.models import (
    ManagedIdentity,
    StationLog,
)
from inventory.services import station_logs
from tests.support import OPERATOR, ControlPlane

CONTENT = b"2026-11-20T10:00:00Z StartupOfTheDevice\n"


def ask(plane: ControlPlane, identity: ManagedIdentity) -> StationLog:
    return station_logs.fetch(identity=identity, actor=OPERATOR, reason="Look for tampering", now=plane.clock())


def command_of(log: StationLog) -> OutboxCommand:
    return OutboxCommand.objects.get(reference=f"log:{log.pk}")


def address(log: StationLog) -> str:
    """What the station is told, as the gateway reads it."""
    sealed = command_of(log).secret_payload
    assert sealed is not None
    opened = secret_payload.open(bytes(sealed), django_settings.CONFIGURATION.credential_secret())
    location = opened["remote_location"]
    assert isinstance(location, str)
    return location


def token(log: StationLog) -> str:
    return address(log).rsplit("/", 1)[1]


def again(log: StationLog) -> StationLog:
    return StationLog.objects.get(pk=log.pk)


def upload(plane: ControlPlane, key: str, *chunks: bytes) -> StationLog:
    return station_logs.receive(token=key, chunks=chunks or (CONTENT,), now=plane.clock())


def tell(plane: ControlPlane, log: StationLog, status: str) -> None:
    plane.observe("CS-1", Evidence.LOG_STATUS, {"status": status, "request_id": log.request_id})
    plane.read_inbox()
