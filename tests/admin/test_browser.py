"""What only a browser can show: live pages, copied fingerprints, buttons that are pressed once, no other host."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from bfcerts.ocpp.models import OutboxCommand
from inventory.services import lifecycle
from tests.admin import given
from tests.admin.browser import Browser
from tests.support import OPERATOR, charger, restore_default_policies

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE = 15_000
"""Milliseconds until something that should appear counts as missing."""


@pytest.fixture
def browser(live_server: Any) -> Iterator[Browser]:
    """An administrator's browser, signed in."""
    restore_default_policies()
    given.administrator("maria")
    with Browser(live_server.url) as opened:
        opened.sign_in("maria", given.PASSWORD)
        yield opened
        assert opened.complaints == []


def page_of(identity: Any) -> str:
    return reverse("admin:inventory_managedidentity_change", args=[identity.pk])


def test_an_open_page_shows_a_revocation_without_being_reloaded(browser: Browser) -> None:
    identity = charger("CS-1")
    record = given.active_record(identity)
    row = f"[data-testid=record-{record.pk}]"
    browser.open(page_of(identity))
    browser.do(lambda page: expect(page.locator(row)).to_contain_text("Active"))
    browser.do(lambda page: page.evaluate("window.neverReloaded = true"))

    lifecycle.revoke(record=record, actor=OPERATOR, reason="Broken into")

    browser.do(lambda page: expect(page.locator(row)).to_contain_text("Revoked", timeout=PATIENCE))
    browser.do(lambda page: expect(page.get_by_test_id("timeline")).to_contain_text("Certificate revoked"))
    assert browser.do(lambda page: page.evaluate("window.neverReloaded")) is True


def test_a_paused_page_stands_still_until_it_is_resumed(browser: Browser) -> None:
    identity = charger("CS-1")
    began = datetime.now(UTC)
    browser.do(lambda page: page.clock.install(time=began))
    browser.open(page_of(identity))
    browser.do(lambda page: page.clock.pause_at(began + timedelta(hours=1)))
    requests: list[str] = []
    browser.do(lambda page: page.on("request", lambda request: requests.append(request.url)))

    def a_minute_later(page: Page) -> None:
        page.clock.run_for(60_000)
        page.evaluate("null")

    browser.do(lambda page: page.get_by_role("button", name="Pause").click())
    requests.clear()
    browser.do(a_minute_later)
    assert requests == []

    given.session(identity)
    browser.do(lambda page: page.get_by_role("button", name="Resume").click())
    connected = "Connected on Profile 3"
    browser.do(lambda page: expect(page.get_by_test_id("session")).to_contain_text(connected, timeout=PATIENCE))

    def goes_on(page: Page) -> None:
        with page.expect_request("**/change/"):
            page.clock.run_for(3000)

    browser.do(goes_on)


def test_a_fingerprint_is_copied_in_full(browser: Browser) -> None:
    identity = charger("CS-1")
    record = given.active_record(identity)
    browser.open(reverse("admin:inventory_certificaterecord_change", args=[record.pk]))

    def copied(page: Page) -> str:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.get_by_role("button", name="Copy fingerprint").click()
        expect(page.get_by_text("Copied")).to_be_visible()
        return str(page.evaluate("navigator.clipboard.readText()"))

    assert browser.do(copied) == record.fingerprint


NOTE_THE_BUTTON = """
document.addEventListener("submit", (event) => sessionStorage.setItem(
  "button", event.target.querySelector("[data-testid=confirm]").disabled ? "off" : "on"))
"""


def test_an_action_is_asked_confirmed_and_its_button_is_off_once_it_is_sent(browser: Browser) -> None:
    identity = charger("CS-1")
    browser.open(page_of(identity))

    def steps(page: Page) -> str:
        page.get_by_test_id("action-list_certificates").click()
        expect(page.get_by_test_id("explanation")).to_contain_text("CS-1 is asked what it has installed")
        page.evaluate(NOTE_THE_BUTTON)
        page.get_by_label("Reason").fill("A look")
        page.get_by_test_id("confirm").dblclick(no_wait_after=True)
        page.wait_for_url(f"**{page_of(identity)}")
        expect(page.get_by_text("waits for CS-1")).to_be_visible()
        return str(page.evaluate("sessionStorage.getItem('button')"))

    assert browser.do(steps) == "off"
    assert OutboxCommand.objects.count() == 1


def test_a_page_whose_session_ended_says_so(browser: Browser) -> None:
    browser.open(page_of(charger("CS-1")))

    browser.do(lambda page: page.context.clear_cookies())

    status = "[data-live-status]"
    browser.do(lambda page: expect(page.locator(status)).to_contain_text("Signed out", timeout=PATIENCE))


def test_a_list_shows_what_is_new_and_leaves_what_somebody_has_begun(browser: Browser) -> None:
    identity = charger("CS-1")
    listing = reverse("admin:inventory_managedidentity_changelist")
    browser.open(listing)
    row = "#result_list tbody >> nth=0"
    browser.do(lambda page: expect(page.locator(row)).to_contain_text("Not connected"))
    browser.do(lambda page: page.evaluate("window.neverReloaded = document.querySelector('#result_list')"))

    given.session(identity)
    browser.do(lambda page: expect(page.locator(row)).to_contain_text("On Profile 3", timeout=PATIENCE))
    same = "window.neverReloaded === document.querySelector('#result_list')"
    assert browser.do(lambda page: page.evaluate(same)) is True

    browser.do(lambda page: page.get_by_role("textbox", name="Search").fill("CS"))
    status = "[data-live-status]"
    waits = "Waits while a form is filled in"
    browser.do(lambda page: expect(page.locator(status)).to_contain_text(waits, timeout=PATIENCE))
    charger("CS-2")
    browser.do(lambda page: page.get_by_role("textbox", name="Search").fill(""))
    browser.do(lambda page: expect(page.locator("#result_list")).to_contain_text("CS-2", timeout=PATIENCE))


def focused(page: Page) -> str:
    return str(
        page.evaluate("(document.activeElement.getAttribute('aria-label') || document.activeElement.innerText).trim()")
    )


def test_the_console_is_worked_by_keyboard_alone(browser: Browser) -> None:
    charger("CS-1")
    browser.open(reverse("admin:inventory_managedidentity_changelist"))

    def tab_to(page: Page, wanted: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if wanted in focused(page):
                outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline == "solid", f"{wanted} shows no focus"
                return
        raise AssertionError(f"Tab never came to {wanted}")

    def steps(page: Page) -> None:
        page.keyboard.press("Tab")
        assert focused(page) == "Skip to the content"
        tab_to(page, "Identities")
        assert page.evaluate("document.activeElement.getAttribute('aria-current')") == "page"
        tab_to(page, "maria")
        page.keyboard.press("Enter")
        expect(page.get_by_role("navigation", name="Account")).to_be_visible()
        expect(page.get_by_test_id("account")).to_have_attribute("aria-expanded", "true")
        page.keyboard.press("Shift+Tab")
        assert "Log out" in focused(page)
        page.keyboard.press("Escape")
        expect(page.get_by_role("navigation", name="Account")).to_be_hidden()
        assert "maria" in focused(page)
        tab_to(page, "Filters")
        page.keyboard.press("Enter")
        expect(page.get_by_role("group", name="Filters")).to_be_visible()
        page.wait_for_function("document.getElementById('changelist-filter').contains(document.activeElement)")
        page.keyboard.press("Escape")
        expect(page.get_by_role("group", name="Filters")).to_be_hidden()
        assert "Filters" in focused(page)
        page.reload()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.getElementById('content').contains(document.activeElement)")

    browser.do(steps)


def test_times_are_in_utc_and_their_titles_in_the_time_of_the_reader(live_server: Any) -> None:
    restore_default_policies()
    given.administrator("maria")
    identity = charger("CS-1")
    given.session(identity, connected_at=datetime(2026, 7, 1, 12, 0, tzinfo=UTC))
    with Browser(live_server.url, time_zone="Europe/Berlin") as browser:
        browser.sign_in("maria", given.PASSWORD)
        browser.open(page_of(identity))

        time = "[data-testid=session] time"
        title = "2026-07-01 12:00:00 UTC = 01/07/2026, 14:00:00 CEST in Europe/Berlin"
        browser.do(lambda page: expect(page.locator(time).first).to_have_attribute("title", title))
        browser.do(lambda page: expect(page.locator("[data-time-zone]")).to_contain_text("Europe/Berlin"))
        assert browser.complaints == []


def test_the_palette_finds_a_charger_and_enter_opens_it(browser: Browser) -> None:
    wanted = charger("CS-0007")
    charger("CS-0008")
    browser.open("/admin/")

    def search(page: Page) -> None:
        page.keyboard.press("Control+k")
        field = page.locator("#search-input-command")
        expect(field).to_be_focused()
        page.keyboard.press("Enter")
        field.press_sequentially("cs-0007")
        expect(page.locator("#command-results")).to_contain_text("CS-0007", timeout=PATIENCE)
        page.keyboard.press("Enter")
        page.wait_for_url(f"**{page_of(wanted)}")

    browser.do(search)
    browser.do(lambda page: expect(page.get_by_test_id("identity-title")).to_contain_text("CS-0007"))


def test_a_chargers_page_fits_a_phone(browser: Browser) -> None:
    identity = charger("CS-0007")
    given.active_record(identity)
    given.session(identity)
    given.job(identity)
    browser.do(lambda page: page.set_viewport_size({"width": 390, "height": 844}))
    browser.open(page_of(identity))

    wide = browser.do(lambda page: page.evaluate("document.documentElement.scrollWidth"))

    assert wide <= 390
