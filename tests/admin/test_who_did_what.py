"""Who did what, when and why: every change of an identity is in the event log, and the log can be asked."""

from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.test import Client
from django.urls import reverse

from inventory.models import DomainEvent
from inventory.services import identities
from tests.admin import given
from tests.support import OPERATOR

pytestmark = pytest.mark.django_db


def shown(console: Client, query: str, model: str = "domainevent") -> str:
    answer = console.get(reverse(f"admin:inventory_{model}_changelist") + query)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def test_what_is_done_to_an_identity_is_told_with_who_and_why(console: Client) -> None:
    identity = identities.create(kind="charger", authoritative_identifier="CS-1", actor=OPERATOR, reason="A new bay")
    identities.update(identity=identity, changes={"site": "North"}, actor=OPERATOR, reason="It was moved")
    identities.update(identity=identity, changes={"site": "North"}, actor=OPERATOR, reason="Nothing new")
    for enabled, reason in ((False, "Stolen"), (False, "Twice"), (True, "Found again")):
        identities.set_enabled(identity=identity, enabled=enabled, actor=OPERATOR, reason=reason)

    told = DomainEvent.objects.filter(identity=identity).order_by("id").values_list("type", "actor", "reason")

    assert list(told) == [
        ("IdentityAdded", OPERATOR.name, "A new bay"),
        ("IdentityChanged", OPERATOR.name, "It was moved"),
        ("IdentityDisabled", OPERATOR.name, "Stolen"),
        ("IdentityEnabled", OPERATOR.name, "Found again"),
    ]
    page = unescape(console.get(reverse("admin:inventory_managedidentity_change", args=[identity.pk])).content.decode())
    assert "Identity disabled" in page
    assert "Stolen" in page


def test_events_are_found_by_who_when_and_why(console: Client) -> None:
    now = datetime.now(UTC)
    given.domain_event(actor="person:maria", reason="Lightning struck")
    given.domain_event(actor="person:jan", reason="An old story", occurred_at=now - timedelta(days=10))

    for query in ("?who=maria", "?who=person:maria", "?q=maria", "?when=7", "?reason=lightning"):
        page = shown(console, query)
        assert "Lightning struck" in page, query
        assert "An old story" not in page, query
    assert "An old story" in shown(console, "?when=30")


@pytest.mark.parametrize("query", ["?when=bogus", "?open=bogus"])
def test_a_filter_that_means_nothing_says_so(query: str, console: Client) -> None:
    model = "domainevent" if "when" in query else "certificatejob"
    assert "“bogus” is no choice of the filter" in shown(console, query, model)


def test_an_address_with_an_unknown_filter_says_so(console: Client) -> None:
    listing = reverse("admin:inventory_certificatejob_changelist")
    answer = console.get(f"{listing}?nothing=bogus", follow=True)
    assert "a filter that is not known here" in unescape(answer.content.decode())
