"""Logs and artifacts in the console and over the API: seen, downloaded by who may, and said when they are gone."""

from collections.abc import Iterable
from pathlib import Path
from typing import cast

import pytest
from django.contrib.auth.models import Permission, User
from django.http import HttpResponseBase, StreamingHttpResponse
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from inventory.models import Artifact, SecurityEvent, StationLog
from inventory.services import artifacts, station_logs
from tests.support import OPERATOR, ControlPlane, charger

pytestmark = pytest.mark.django_db
CONTENT = b"<script>alert(1)</script> StartupOfTheDevice\n"


@pytest.fixture
def log(plane: ControlPlane, settings: Settings, tmp_path: Path) -> StationLog:
    """A log that a station uploaded."""
    given = {"artifact_directory": tmp_path / "artifacts"}
    settings.CONFIGURATION = settings.CONFIGURATION.model_copy(update=given)
    asked = station_logs.fetch(identity=charger("CS-1"), actor=OPERATOR, reason="Look", now=plane.clock())
    token = station_logs.upload_address(asked).rsplit("/", 1)[1]
    return station_logs.receive(token=token, chunks=[CONTENT], now=plane.clock())


def artifact_of(log: StationLog) -> Artifact:
    assert log.artifact is not None
    return log.artifact


def body(answer: HttpResponseBase) -> bytes:
    return b"".join(cast(Iterable[bytes], cast(StreamingHttpResponse, answer).streaming_content))


def page(console: Client, name: str, *arguments: object) -> str:
    answer = console.get(reverse(f"admin:{name}", args=arguments))
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_log_and_its_file_are_shown(console: Client, log: StationLog) -> None:
    listed = page(console, "inventory_stationlog_changelist")
    shown = page(console, "inventory_artifact_change", artifact_of(log).pk)

    assert "CS-1" in listed
    assert "Kept" in listed
    assert artifact_of(log).sha256 in shown
    assert "Download" in shown
    assert "bytes were kept" in page(console, "inventory_stationlog_change", log.pk)


def test_a_log_is_one_click_away_in_the_list_and_on_the_page_of_its_charger(console: Client, log: StationLog) -> None:
    download = f'href="{reverse("admin:inventory_artifact_content", args=[artifact_of(log).pk])}">Download'
    assert download in page(console, "inventory_stationlog_changelist")
    assert download in page(console, "inventory_managedidentity_change", log.identity_id)


@pytest.mark.parametrize("route", ["/admin/inventory/artifact/{}/content/", "/api/v1/artifacts/{}/content"])
def test_the_bytes_come_as_a_file_that_no_browser_shows_and_that_is_recorded(
    console: Client, log: StationLog, route: str
) -> None:
    answer = console.get(route.format(artifact_of(log).pk))

    assert body(answer) == CONTENT
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["Content-Disposition"].startswith("attachment")
    assert answer["X-Content-Type-Options"] == "nosniff"
    event = SecurityEvent.objects.get(type="ArtifactDownloaded")
    assert "maria" in event.message


@pytest.mark.parametrize("route", ["/admin/inventory/artifact/{}/content/", "/api/v1/artifacts/{}/content"])
def test_who_may_only_look_downloads_nothing(log: StationLog, route: str) -> None:
    viewer = User.objects.create_user("vera", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_artifact"))
    client = Client()
    client.force_login(viewer)

    answer = client.get(route.format(artifact_of(log).pk), follow=True)

    assert not answer.streaming
    assert "download_artifact" in answer.content.decode()
    assert not SecurityEvent.objects.filter(type="ArtifactDownloaded").exists()


@pytest.mark.parametrize("route", ["/admin/inventory/artifact/{}/content/", "/api/v1/artifacts/{}/content"])
def test_what_is_gone_says_so(console: Client, plane: ControlPlane, log: StationLog, route: str) -> None:
    artifacts.store().delete(artifact_of(log).name)
    lost = console.get(route.format(artifact_of(log).pk), follow=True).content.decode()
    plane.clock.advance(days=365)
    artifacts.delete_past_retention(plane.clock())
    over = console.get(route.format(artifact_of(log).pk), follow=True).content.decode()

    assert "cannot be read now" in lost
    assert "end of its retention" in over
