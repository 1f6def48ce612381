"""Uploads of security logs: to an address that works once, for a time and for one station; and what breaks off."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from pytest_django import DjangoAssertNumQueries

from bfcerts.artifacts import BrokenOffError
from bfcerts.ocpp import secret_payload
from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.redaction import redact
from inventory.models import (
    Artifact,
    ManagedIdentity,
    StationLog,
)
from inventory.services import artifacts, station_logs
from inventory.services.station_logs import UploadOverError, UploadRefusedError, UploadTooLargeError
from tests.inventory.logs import CONTENT, address, again, ask, command_of, token, upload
from tests.support import OPERATOR, ControlPlane, charger

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("logs_in_a_folder")]


def test_the_address_is_short_and_sealed(plane: ControlPlane) -> None:
    log = ask(plane, charger("CS-1"))

    location = address(log)
    command = command_of(log)
    assert len(location) < 512
    assert location.startswith(django_settings.CONFIGURATION.log_upload_url + "/upload/")
    assert command.action == Action.GET_LOG
    assert command.payload["remote_location"] == ""
    assert token(log) not in str(command.payload)


def test_an_address_works_once(plane: ControlPlane) -> None:
    log = ask(plane, charger("CS-1"))
    key = token(log)
    upload(plane, key)

    with pytest.raises(UploadOverError, match="has been used"):
        upload(plane, key, b"something else")

    assert Artifact.objects.get().sha256 == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize(
    "change", [lambda key: key[:-1] + ("A" if key[-1] != "A" else "B"), lambda key: "1", str.upper]
)
def test_an_address_that_is_not_ours_is_refused_without_a_look_at_the_database(
    plane: ControlPlane, change: Callable[[str], str], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    key = token(ask(plane, charger("CS-1")))

    with pytest.raises(UploadRefusedError, match="Nothing is expected"), django_assert_num_queries(0):
        upload(plane, change(key))


def test_the_address_of_one_station_says_nothing_about_anothers(plane: ControlPlane) -> None:
    first, second = ask(plane, charger("CS-1")), ask(plane, charger("CS-2"))
    number, _, signature = token(first).partition("~")

    with pytest.raises(UploadRefusedError):
        upload(plane, f"{second.pk}~{signature}")
    assert number == str(first.pk)


def test_the_address_ends_with_its_time(plane: ControlPlane) -> None:
    log = ask(plane, charger("CS-1"))
    key = token(log)

    plane.clock.advance(hours=2)

    with pytest.raises(UploadOverError):
        upload(plane, key)


def test_a_disabled_station_uploads_nothing(plane: ControlPlane) -> None:
    key = token(ask(plane, charger("CS-1")))
    ManagedIdentity.objects.update(enabled=False)

    with pytest.raises(UploadOverError):
        upload(plane, key)


def test_what_is_too_large_is_refused_and_may_be_sent_again(plane: ControlPlane) -> None:
    log = ask(plane, charger("CS-1"))
    key = token(log)

    with pytest.raises(UploadTooLargeError, match="more than 1 MiB"):
        upload(plane, key, *([b"x" * 1024] * 1025))
    assert not Artifact.objects.exists()

    upload(plane, key)
    assert again(log).state == "uploaded"


def test_an_upload_that_breaks_off_may_begin_again(plane: ControlPlane) -> None:
    log = ask(plane, charger("CS-1"))
    key = token(log)

    def breaks_off() -> Iterator[bytes]:
        yield b"half of "
        raise ConnectionResetError

    with pytest.raises(BrokenOffError):
        station_logs.receive(token=key, chunks=breaks_off(), now=plane.clock())
    upload(plane, key)

    assert again(log).artifact is not None


def test_a_second_upload_at_the_same_time_is_refused_until_the_first_is_given_up(plane: ControlPlane) -> None:
    log = ask(plane, charger("CS-1"))
    key = token(log)
    StationLog.objects.update(upload_begun_at=plane.clock())  # as a process that was killed leaves it

    with pytest.raises(UploadOverError):
        upload(plane, key)
    plane.clock.advance(minutes=15)
    upload(plane, key)

    assert again(log).state == "uploaded"


def test_what_a_slow_upload_brings_later_never_takes_the_place_of_what_was_kept(plane: ControlPlane) -> None:
    log = ask(plane, charger("CS-1"))
    key = token(log)

    def slow() -> Iterator[bytes]:
        yield b"forged "
        plane.clock.advance(minutes=16)
        upload(plane, key, b"honest")
        yield b"afterwards"

    with pytest.raises(UploadOverError):
        station_logs.receive(token=key, chunks=slow(), now=plane.clock())

    kept = again(log).artifact
    assert kept is not None
    assert b"".join(artifacts.read(artifact=kept, actor=OPERATOR, now=plane.clock())) == b"honest"
    folder = Path(str(django_settings.CONFIGURATION.artifact_directory))
    assert [path.name for path in folder.rglob("*.log")] == [Path(kept.name).name]


def test_what_an_upload_left_whose_process_died_leaves_the_store(plane: ControlPlane) -> None:
    log = ask(plane, charger("CS-1"))
    claim = "0123456789abcdef"
    StationLog.objects.update(upload_begun_at=plane.clock(), upload_claim=claim)  # as a killed process leaves it
    place = f"security-logs/{log.created_at:%Y/%m}/{log.pk}-{claim}.log"
    artifacts.store().put(place, [CONTENT], largest=1000)
    folder = Path(str(django_settings.CONFIGURATION.artifact_directory))

    plane.sweep()
    assert [path.name for path in folder.rglob("*.log")] == [Path(place).name]  # it may still be under way
    plane.clock.advance(minutes=15)
    plane.sweep()

    assert not list(folder.rglob("*.log"))
    assert (again(log).upload_begun_at, again(log).upload_claim) == (None, "")
    upload(plane, token(log))
    assert again(log).state == "uploaded"


def test_the_end_of_an_upload_that_was_given_up_frees_nobody_elses_claim(plane: ControlPlane) -> None:
    log = ask(plane, charger("CS-1"))
    key = token(log)

    def second() -> Iterator[bytes]:
        yield b"second"
        with pytest.raises(UploadOverError):
            upload(plane, key, b"third")

    def first() -> Iterator[bytes]:
        yield b"first"
        plane.clock.advance(minutes=16)
        station_logs.receive(token=key, chunks=second(), now=plane.clock())
        raise ConnectionResetError

    with pytest.raises(BrokenOffError):
        station_logs.receive(token=key, chunks=first(), now=plane.clock())

    assert Artifact.objects.get().size == len(b"second")


@pytest.mark.parametrize("quoted", ["{}", "cannot use {}", "{}/file.txt"])
def test_an_address_that_a_station_quotes_is_redacted(plane: ControlPlane, quoted: str) -> None:
    log = ask(plane, charger("CS-1"))
    location, key = address(log), token(log)
    secrets = secret_payload.values({"remote_location": location})

    for said in (location, key):
        assert key not in str(redact({"statusInfo": {"additionalInfo": quoted.format(said)}}, secrets))
