"""Security logs: asked for, uploaded once to an address of ours, followed to the end, and kept."""

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from pytest_django import Settings

from bfcerts.artifacts import ArtifactError
from bfcerts.ocpp.canonical import CommandOutcome, Evidence
from inventory.actors import Actor
from inventory.choices import ArtifactKind
from inventory.errors import NotPermittedError, TransitionRefusedError
from inventory.models import (
    Artifact,
    CertificateRecord,
    EventCursor,
    ManagedIdentity,
    SecurityEvent,
    Setback,
    StationLog,
)
from inventory.services import artifacts, station_logs
from inventory.services.station_logs import UploadOverError
from tests.end_to_end.plant import eventually
from tests.inventory.logs import CONTENT, again, ask, command_of, tell, token, upload
from tests.support import OPERATOR, ControlPlane, charger

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("logs_in_a_folder")]


def test_a_log_is_asked_for_uploaded_and_kept_with_its_digest(plane: ControlPlane) -> None:
    log = ask(plane, charger("CS-1"))
    key = token(log)

    plane.answer(command_of(log))
    plane.read_inbox()
    assert again(log).state == "accepted"
    tell(plane, log, "Uploading")
    assert again(log).state == "uploading"
    upload(plane, key)
    tell(plane, log, "Uploaded")

    log = again(log)
    assert (log.state, log.station_status) == ("uploaded", "Uploaded")
    assert log.artifact is not None
    assert log.artifact.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert log.artifact.retain_until == plane.clock() + timedelta(days=365)
    assert b"".join(artifacts.store().read(log.artifact.name)) == CONTENT
    assert SecurityEvent.objects.filter(type="SecurityLogRetrieved", identity=log.identity).count() == 1


def test_the_upload_and_its_status_may_come_before_the_answer(plane: ControlPlane) -> None:
    log = ask(plane, charger("CS-1"))
    command, key = command_of(log), token(log)

    tell(plane, log, "Uploading")
    upload(plane, key)
    tell(plane, log, "Uploaded")
    plane.answer(command)
    plane.read_inbox()

    assert again(log).state == "uploaded"


def test_what_a_slow_upload_left_whose_process_died_afterwards_leaves_the_store(plane: ControlPlane) -> None:
    log = ask(plane, charger("CS-1"))
    claim = "0123456789abcdef"
    StationLog.objects.update(upload_begun_at=plane.clock(), upload_claim=claim)  # as one that is under way has it
    place = f"security-logs/{log.created_at:%Y/%m}/{log.pk}-{claim}.log"
    plane.clock.advance(minutes=16)
    assert station_logs.clear_abandoned(plane.clock()) == 1
    artifacts.store().put(place, [b"late"], largest=100)  # and its process dies before it could ask whose the log is

    plane.clock.advance(hours=23)
    assert station_logs.clear_late(plane.clock()) == 0
    plane.clock.advance(hours=2)
    assert station_logs.clear_late(plane.clock()) == 1

    with pytest.raises(ArtifactError):
        artifacts.store().read(place)
    assert station_logs.clear_late(plane.clock()) == 0


def test_what_was_changed_in_the_store_is_not_given_out(plane: ControlPlane) -> None:
    log = ask(plane, charger("CS-1"))
    artifact = upload(plane, token(log)).artifact
    assert artifact is not None
    artifacts.store().put(artifact.name, [b"somebody else's"], largest=100)

    with pytest.raises(artifacts.ArtifactUnavailableError, match="digest differs"):
        artifacts.read(artifact=artifact, actor=OPERATOR, now=plane.clock())

    assert SecurityEvent.objects.get(type="ArtifactChanged").severity == "critical"
    assert not SecurityEvent.objects.filter(type="ArtifactDownloaded").exists()


def test_a_store_that_fails_leaves_the_request_open(plane: ControlPlane) -> None:
    log = ask(plane, charger("CS-1"))
    key = token(log)
    folder = Path(str(django_settings.CONFIGURATION.artifact_directory))
    folder.write_text("in the way")

    with pytest.raises(ArtifactError):
        upload(plane, key)
    folder.unlink()
    upload(plane, key)

    assert again(log).state == "uploaded"


def test_a_newer_request_takes_the_place_of_an_open_one(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    earlier = ask(plane, identity)
    key = token(earlier)
    newer = ask(plane, identity)

    with pytest.raises(UploadOverError):
        upload(plane, key)
    assert (again(earlier).state, again(earlier).detail) == ("failed", "A newer request took its place.")
    assert command_of(earlier).state == "cancelled"
    upload(plane, token(newer))


def test_an_upload_that_ends_after_its_request_was_replaced_is_kept_and_changes_nothing(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    earlier = ask(plane, identity)

    def slow() -> Iterator[bytes]:
        yield CONTENT
        ask(plane, identity)

    station_logs.receive(token=token(earlier), chunks=slow(), now=plane.clock())

    assert again(earlier).state == "failed"
    assert again(earlier).artifact is not None


@pytest.mark.parametrize("status", station_logs.FAILED_STATUSES)
def test_a_failure_that_the_station_reports_ends_the_request(plane: ControlPlane, status: str) -> None:
    log = ask(plane, charger("CS-1"))

    tell(plane, log, status)

    assert again(log).state == "failed"
    assert status in again(log).detail
    assert SecurityEvent.objects.filter(type="SecurityLogMissing").count() == 1


def test_a_station_that_does_not_take_the_request_ends_it_with_its_own_words(plane: ControlPlane) -> None:
    log = ask(plane, charger("CS-1"))

    plane.answer(command_of(log), CommandOutcome.REJECTED)
    plane.read_inbox()

    assert again(log).state == "failed"
    assert "did not take the request" in again(log).detail


def test_a_log_that_never_comes_ends_at_its_time(plane: ControlPlane) -> None:
    log = ask(plane, charger("CS-1"))
    tell(plane, log, "Uploaded")

    plane.clock.advance(hours=2)
    plane.sweep()

    assert again(log).state == "failed"
    assert again(log).detail == "No upload came in time. It said last: Uploaded."


def test_another_stations_status_touches_nothing(plane: ControlPlane) -> None:
    log = ask(plane, charger("CS-1"))
    charger("CS-2")

    plane.observe("CS-2", Evidence.LOG_STATUS, {"status": "UploadFailure", "request_id": log.request_id})
    plane.observe("CS-1", Evidence.LOG_STATUS, {"status": "UploadFailure", "request_id": None})
    plane.observe("CS-1", Evidence.LOG_STATUS, {"status": "UploadFailure", "request_id": -1})
    plane.read_inbox()

    assert again(log).state == "requested"


def test_only_who_may_send_commands_may_ask(plane: ControlPlane) -> None:
    nobody = Actor.person(User.objects.create_user("visitor"))

    with pytest.raises(NotPermittedError):
        station_logs.fetch(identity=charger("CS-1"), actor=nobody, reason="curious", now=plane.clock())


def test_a_disabled_station_is_not_asked(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    ManagedIdentity.objects.update(enabled=False)

    with pytest.raises(TransitionRefusedError):
        ask(plane, identity)


def test_what_was_kept_long_enough_is_deleted_and_its_row_says_when(plane: ControlPlane) -> None:
    log = ask(plane, charger("CS-1"))
    upload(plane, token(log))
    artifact = Artifact.objects.get()

    plane.clock.advance(days=365)
    plane.sweep()

    artifact.refresh_from_db()
    assert artifact.deleted_at == plane.clock()
    with pytest.raises(ArtifactError):
        artifacts.store().read(artifact.name)


@pytest.mark.django_db(transaction=True)
def test_every_issued_chain_is_kept_once_and_for_good(
    control_plane: ControlPlane, settings: Settings, tmp_path: Path
) -> None:
    plane = control_plane
    given = {"artifact_directory": tmp_path / "artifacts"}
    settings.CONFIGURATION = settings.CONFIGURATION.model_copy(update=given)
    records = [plane.enrol(charger(name)) for name in ("CS-1", "CS-2")]

    def keep() -> int:
        artifacts.keep_issued_chains(plane.clock())
        return Artifact.objects.filter(kind=ArtifactKind.CHAIN).count()

    # What is written is read only once every transaction on the server that began before is over, tests' own included.
    eventually(lambda: keep() == 2, seconds=240, what="both chains are kept")
    assert keep() == 2

    kept = {artifact.origin: artifact for artifact in Artifact.objects.filter(kind=ArtifactKind.CHAIN)}
    assert len(kept) == 2
    for record in records:
        artifact = kept[f"chain:{record.pk}:{record.fingerprint}"]
        assert b"".join(artifacts.store().read(artifact.name)).decode() == record.chain_pem
        assert artifact.retain_until is None


@pytest.mark.sets_defects_aside
@pytest.mark.django_db(transaction=True)
def test_a_chain_that_the_store_does_not_take_holds_up_no_other_and_is_tried_again(
    control_plane: ControlPlane, settings: Settings, tmp_path: Path
) -> None:
    plane = control_plane
    folder = tmp_path / "artifacts"
    settings.CONFIGURATION = settings.CONFIGURATION.model_copy(update={"artifact_directory": folder})
    broken, good = (plane.enrol(charger(name)) for name in ("CS-1", "CS-2"))
    in_the_way = folder / "chains" / "charger-identity" / f"{broken.pk}.pem"
    in_the_way.mkdir(parents=True)

    def kept(record: CertificateRecord) -> bool:
        artifacts.keep_issued_chains(plane.clock())
        return Artifact.objects.filter(origin=f"chain:{record.pk}:{record.fingerprint}").exists()

    eventually(lambda: kept(good), seconds=240, what="the other chain is kept")
    assert not kept(broken)
    aside = Setback.objects.get(work="chains")
    assert (aside.key, aside.identity) == (broken.pk, broken.identity)
    assert f"{broken.pk}.pem could not be kept" in aside.error

    in_the_way.rmdir()
    plane.clock.advance(minutes=1)
    assert kept(broken)
    assert not Setback.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_store_that_takes_nothing_passes_over_nothing(
    control_plane: ControlPlane, settings: Settings, tmp_path: Path
) -> None:
    plane = control_plane
    folder = tmp_path / "artifacts"
    settings.CONFIGURATION = settings.CONFIGURATION.model_copy(update={"artifact_directory": folder})
    plane.enrol(charger("CS-1"))
    folder.mkdir()
    (folder / "chains").write_text("in the way")

    def refused() -> bool:
        try:
            artifacts.keep_issued_chains(plane.clock())
        except ArtifactError:
            return True
        return False

    eventually(refused, seconds=240, what="the store refuses it")
    assert EventCursor.position("chains") == (0, 0)
    assert not Setback.objects.exists()

    (folder / "chains").unlink()
    artifacts.keep_issued_chains(plane.clock())
    assert Artifact.objects.filter(kind=ArtifactKind.CHAIN).count() == 1
