"""Lists that say how things stand: families with what they lack for Profile 3, and work that was set aside."""

from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.test import Client
from django.urls import reverse

from inventory.models import Setback
from inventory.services import family_standing
from tests.admin import given
from tests.admin.acting import address, do, told
from tests.migration.fleet import capable_family
from tests.support import charger

pytestmark = pytest.mark.django_db


def shown(console: Client, name: str) -> str:
    response = console.get(reverse(f"admin:{name}_changelist"))
    assert response.status_code == 200
    return " ".join(unescape(response.content.decode()).split())


def shown_action(console: Client, target: Setback, verb: str) -> str:
    return unescape(console.get(address(target, verb)).content.decode())


def test_a_family_shows_its_chargers_the_ocpp_that_they_speak_and_that_it_is_ready(console: Client) -> None:
    family = capable_family()
    old, new = charger("CS-OLD", family=family), charger("CS-NEW", family=family)
    given.session(old, protocol="ocpp1.6", closed_at=datetime.now(UTC), connected_at=datetime.now(UTC))
    given.session(new)

    page = shown(console, "inventory_chargerfamily")

    assert "1.6, 2.0.1" in page
    assert f'family__id__exact={family.pk}">2</a>' in page
    assert "Yes" in page


def test_a_family_names_what_it_lacks_for_profile_3(console: Client) -> None:
    family = given.family()

    standing = family_standing.of([family])[family.pk]
    page = shown(console, "inventory_chargerfamily")

    assert standing.chargers == 0
    assert standing.missing[-1] == "an approved key path"
    assert f"Missing: {', '.join(standing.missing[:3])} and {len(standing.missing) - 3} more" in page
    assert "not seen yet" in page


def test_only_the_last_connection_of_a_charger_says_what_it_speaks() -> None:
    family = capable_family()
    updated = charger("CS-1", family=family)
    now = datetime.now(UTC)
    given.session(updated, protocol="ocpp1.6", connected_at=now - timedelta(days=1), closed_at=now)
    given.session(updated, protocol="ocpp2.0.1", connected_at=now)

    assert family_standing.of([family])[family.pk].protocols == ("ocpp2.0.1",)


def test_work_set_aside_is_listed_with_why_and_when_it_is_tried_again(console: Client) -> None:
    given.setback(charger("CS-1"))
    due = given.setback()
    Setback.objects.filter(pk=due.pk).update(until=datetime.now(UTC) - timedelta(minutes=1))

    page = shown(console, "inventory_setback")

    assert "Anchors begin" in page
    assert "Its family has no such anchor." in page
    assert "Waits for its next try" in page
    assert "Its next try is due" in page
    found = console.get(f"{reverse('admin:inventory_setback_changelist')}?q=CS-1").context["cl"].result_list
    assert [row.identity.authoritative_identifier for row in found] == ["CS-1"]
    assert console.get(reverse("admin:inventory_setback_change", args=[due.pk])).status_code == 200


def test_work_set_aside_is_tried_again_at_the_page_and_over_the_api(console: Client) -> None:
    here, there = given.setback(charger("CS-1")), given.setback(charger("CS-2"))
    page = shown_action(console, here, "try_now")
    assert "is tried again within seconds" in page
    assert "CS-1" in page

    assert "is tried again as soon as a worker comes to it." in told(console, do(console, here, "try_now"))
    assert "waits no longer" in shown_action(console, here, "try_now")

    client = given.speaker(given.administrator("eve"))
    (listed,) = client.get(reverse("api:setbacks-list"), {"identity": str(there.identity_id)}).json()["results"]
    assert (listed["id"], listed["name"]) == (there.pk, f"Anchors begin {there.key}")
    (offered,) = client.get(reverse("api:setbacks-available-actions", args=[there.pk])).json()
    assert offered["allowed"]
    answer = client.post(reverse("api:setbacks-try-now", args=[there.pk]), {"reason": "Mended"}, format="json")
    assert answer.status_code == 200
    assert not Setback.objects.filter(until__gt=datetime.now(UTC)).exists()
