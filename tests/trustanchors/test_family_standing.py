"""What the page of a bundle's rollout says of a family whose canary is waited for, and of what then."""

from datetime import timedelta
from html import unescape

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from inventory.audit import attributed
from tests.admin import given
from tests.support import OPERATOR
from tests.trustanchors.given import MAKERS
from trustanchors.models import BundleInstallation, BundleRollout, RolloutFamily
from trustanchors.services import family_standing

pytestmark = pytest.mark.django_db


def canary() -> BundleInstallation:
    """The first charger of its family, begun and not back."""
    made = MAKERS[BundleInstallation]()
    assert isinstance(made, BundleInstallation)
    now = timezone.now()
    BundleInstallation.objects.filter(pk=made.pk).update(
        canary=True, state="intended", started_at=now - timedelta(minutes=10), deadline=now + timedelta(hours=24)
    )
    RolloutFamily.objects.filter(pk=made.group_id).update(proven_at=None, halted_by="", confirmed=0)
    made.refresh_from_db()
    return made


def test_a_canary_that_is_waited_for_says_since_when_until_when_and_what_then() -> None:
    made = canary()

    (standing,) = family_standing.of(made.rollout, timezone.now())

    assert standing.label == "Waits for its canary"
    assert made.started_at is not None
    assert made.deadline is not None
    assert f"since {made.started_at:%Y-%m-%d %H:%M} UTC" in standing.sentence
    assert f"until {made.deadline:%Y-%m-%d %H:%M} UTC" in standing.sentence
    assert "no other of the family is begun" in standing.sentence
    assert made.identity.authoritative_identifier in standing.what_next


def test_a_family_whose_canary_was_lost_says_what_to_do() -> None:
    made = canary()
    RolloutFamily.objects.filter(pk=made.group_id).update(halted_by="CS-1 has not come back.")

    (standing,) = family_standing.of(made.rollout, timezone.now())

    assert (standing.label, standing.sentence) == ("Stopped", "CS-1 has not come back.")
    assert "retry the failed" in standing.what_next


def test_the_page_leads_to_the_canary_and_does_not_say_that_the_family_goes_on() -> None:
    made = canary()
    client = Client()
    client.force_login(given.administrator())

    page = unescape(
        client.get(reverse("admin:trustanchors_bundlerollout_change", args=[made.rollout_id])).content.decode()
    )

    assert reverse("admin:trustanchors_bundleinstallation_change", args=[made.pk]) in page
    assert "Waits for its canary" in page
    assert "Goes on" not in page


def test_a_rollout_that_is_paused_says_so_of_its_families() -> None:
    made = canary()
    RolloutFamily.objects.filter(pk=made.group_id).update(proven_at=timezone.now())
    with attributed(OPERATOR, "given"):
        rollout = BundleRollout.objects.get(pk=made.rollout_id)
        if rollout.state == "planned":
            rollout.run()
        rollout.pause()
        rollout.save()

    (standing,) = family_standing.of(rollout, timezone.now())

    assert standing.label == "Paused"
