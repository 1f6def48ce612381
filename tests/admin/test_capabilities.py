"""The capability matrix on the page of a family."""

from html import unescape

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from inventory.models import ChargerFamily, FamilyCapability
from tests.admin import given

pytestmark = pytest.mark.django_db


def test_the_page_of_a_family_shows_what_it_can_and_what_it_lacks(console: Client) -> None:
    family = given.family()
    page = reverse("admin:inventory_chargerfamily_change", args=[family.pk])
    before = unescape(console.get(page).content.decode())
    assert "Not ready for Profile 3" in before
    assert "needed for Profile 3" in before

    declare = reverse("admin:inventory_chargerfamily_do", args=[family.pk, "declare"])
    opened = console.get(declare)
    answer = console.post(
        declare,
        {
            "capability": "get_log",
            "supported": "yes",
            "source": "Data sheet 3",
            "reason": "read it",
            "idempotency_key": "k",
            "version": opened.context["version"],
        },
        follow=True,
    )

    after = unescape(answer.content.decode())
    assert "GetLog and LogStatusNotification: yes." in after
    assert "Data sheet 3" in after
    assert FamilyCapability.objects.get().history.get().history_change_reason == "read it"


def test_an_approved_key_path_is_shown_to_stand_in_for_a_second_slot(console: Client) -> None:
    family = given.family()
    ChargerFamily.objects.filter(pk=family.pk).update(
        key_path="two_slots_at_our_door", key_path_approved_at=timezone.now(), key_path_approved_by="person:maria"
    )

    page = unescape(console.get(reverse("admin:inventory_chargerfamily_change", args=[family.pk])).content.decode())

    cell = page.partition('data-capability="dual_key_slots"')[2].partition("</tr>")[0]
    assert "its approved key path, “One slot on the station, two at our door” stands in for it" in cell
    assert "needed for Profile 3" not in cell


def test_a_declaration_without_a_source_is_refused_on_its_page(console: Client) -> None:
    family = given.family()
    declare = reverse("admin:inventory_chargerfamily_do", args=[family.pk, "declare"])
    opened = console.get(declare)

    answer = console.post(
        declare,
        {
            "capability": "get_log",
            "supported": "yes",
            "reason": "read it",
            "idempotency_key": "k",
            "version": opened.context["version"],
        },
    )

    assert answer.status_code == 422
    assert "A source is needed" in unescape(answer.content.decode())
    assert not FamilyCapability.objects.exists()
