"""An operator in a real browser: takes a charger to active, renews it, revokes it and watches it being thrown off."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from playwright.sync_api import Page, expect, sync_playwright

from bfcerts.configuration import BASE_DIRECTORY
from inventory.models import CertificateRecord, ManagedIdentity
from tests.end_to_end.plant import Plant, StationThread, eventually

pytestmark = pytest.mark.django_db(transaction=True)

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PASSWORD = "a-password-for-the-browser"
SECONDS = 1000.0
Browse = Callable[[Callable[[Page], Any]], Any]


@pytest.fixture
def browse(tmp_path: Path) -> Iterator[Browse]:
    """A page that lives in a thread of its own: the browser's event loop and the database keep apart."""
    with ThreadPoolExecutor(1) as thread:
        browser = thread.submit(lambda: sync_playwright().start()).result()
        context = thread.submit(
            lambda: browser.chromium.launch_persistent_context(
                str(tmp_path / "browser"),
                executable_path=CHROMIUM,
                args=FLAGS,
                viewport={"width": 1440, "height": 1000},
            )
        ).result()
        page = thread.submit(lambda: context.pages[0]).result()
        try:
            yield lambda steps: thread.submit(steps, page).result()
        finally:
            thread.submit(context.close).result()
            thread.submit(browser.stop).result()


def do(page: Page, verb: str, reason: str) -> None:
    """Click an action, give the reason, confirm."""
    page.get_by_test_id(f"action-{verb}").click()

    def offered() -> bool:
        page.reload()  # an action may be refused for a moment, as while the station is coming back
        return page.get_by_label("Reason").is_visible()

    eventually(offered, what=lambda: page.inner_text("body"))
    page.get_by_label("Reason").fill(reason)
    page.get_by_test_id("confirm").click()


def screenshot(page: Page, name: str) -> None:
    """Keep a picture for people, as a build artifact."""
    folder = BASE_DIRECTORY / "var" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(folder / f"{name}.png"))


def test_an_operator_takes_a_charger_to_active_renews_and_revokes_it(
    plant: Plant, stations: StationThread, browse: Browse, settings: Any
) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]  # as the web process has it
    User.objects.create_superuser("operator", password=PASSWORD)
    identity, station = stations.commission("CS-0001", site="Depot North")
    stations.start([station])
    settings.STATIC_ROOT = plant.folder / "static"
    call_command("collectstatic", verbosity=0, interactive=False)
    plant.start("web")
    address = f"http://127.0.0.1:{plant.ports['web']}"
    eventually(lambda: "Listening at" in plant.log("web"), what="the web process answers")
    page_address = f"{address}/admin/inventory/managedidentity/{identity.pk}/change/"

    def sign_in_and_enrol(page: Page) -> None:
        page.goto(page_address)
        page.get_by_label("Username").fill("operator")
        page.get_by_label("Password").fill(PASSWORD)
        page.locator("button[type=submit]").click()
        expect(page.get_by_test_id("identity-title")).to_contain_text("CS-0001")
        do(page, "issue", "First certificate")
        page.goto(page_address)
        expect(page.get_by_test_id("certificates")).to_contain_text("Installed", timeout=30 * SECONDS)
        do(page, "cut_over", "To Profile 3")
        page.goto(page_address)
        expect(page.get_by_test_id("certificates")).to_contain_text("Active", timeout=30 * SECONDS)
        screenshot(page, "identity")

    browse(sign_in_and_enrol)
    first = active(identity)

    def renew(page: Page) -> None:
        page.goto(f"{address}/admin/inventory/certificaterecord/{first.pk}/change/")
        do(page, "renew", "Renewal by hand")

    browse(renew)
    second = eventually(
        lambda: CertificateRecord.objects.filter(identity=identity, state="active").exclude(pk=first.pk).first()
    )

    def revoke(page: Page) -> None:
        page.goto(page_address)
        expect(page.get_by_test_id("certificates")).to_contain_text("Retired")
        page.goto(f"{address}/admin/inventory/certificaterecord/{second.pk}/change/")
        do(page, "revoke", "Stolen in the night")
        page.goto(page_address)
        expect(page.get_by_test_id("certificates")).to_contain_text("Revoked")
        expect(page.get_by_test_id("session")).to_contain_text("Not connected", timeout=10 * SECONDS)
        expect(page.get_by_test_id("timeline")).to_contain_text("Stolen in the night")
        screenshot(page, "revoked")

    browse(revoke)
    eventually(lambda: not station.connected, what="the station was thrown off")


def active(identity: ManagedIdentity) -> CertificateRecord:
    return CertificateRecord.objects.get(identity=identity, state="active")
