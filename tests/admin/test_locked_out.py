"""A charger that cannot connect any more says so wherever it is shown, once."""

from html import unescape

import pytest
from django.test import Client
from django.urls import reverse

from inventory.audit import attributed
from inventory.models import ManagedIdentity
from inventory.services import actions, lifecycle
from tests.admin import given
from tests.support import OPERATOR, charger

pytestmark = pytest.mark.django_db


def stranded(name: str) -> ManagedIdentity:
    """A charger on Profile 3 whose only certificate was revoked."""
    identity = charger(name)
    record = given.active_record(identity)
    with attributed(OPERATOR, "given"):
        ManagedIdentity.objects.filter(pk=identity.pk).update(security_profile=3)
    lifecycle.revoke(record=record, actor=OPERATOR, reason="Broken into")
    identity.refresh_from_db()
    return identity


def page_of(console: Client, identity: ManagedIdentity) -> str:
    answer = console.get(reverse("admin:inventory_managedidentity_change", args=[identity.pk]))
    return unescape(answer.content.decode())


def test_its_page_says_it_and_shows_no_green_tick(console: Client) -> None:
    page = page_of(console, stranded("CS-1"))

    head = page[page.index('data-testid="identity-title"') : page.index("</h1>")]
    assert "Locked out" in head
    assert "Profile 3" in head
    assert "c-badge--success" not in head


def test_its_row_says_it_and_that_of_a_healthy_neighbour_does_not(console: Client) -> None:
    identity, neighbour = stranded("CS-1"), charger("CS-2")
    given.active_record(neighbour)
    with attributed(OPERATOR, "given"):
        ManagedIdentity.objects.filter(pk=neighbour.pk).update(security_profile=3)

    page = unescape(console.get(reverse("admin:inventory_managedidentity_changelist")).content.decode())

    table = page[page.index('id="result_list"') :]
    of = {name: next(row for row in table.split("<tr") if name in row) for name in ("CS-1", "CS-2")}
    assert "Locked out" in of[identity.authoritative_identifier]
    assert "Let in" not in of["CS-1"]
    assert "c-badge--success" not in of["CS-1"]
    assert "Locked out" not in of["CS-2"]
    assert "Let in" in of["CS-2"]


def test_one_reason_that_bars_many_actions_is_said_once(console: Client) -> None:
    page = page_of(console, stranded("CS-1"))

    offered = page[page.index('data-testid="actions"') :]
    assert offered.count(actions.LOCKED_OUT) == 1
    assert offered.count("Not now, for the same reason.") >= 3


def test_a_revoked_certificate_has_no_days_left(console: Client) -> None:
    page = page_of(console, stranded("CS-1"))

    assert "out of use; would have ended" in page
    assert "c-validity__bar" not in page
