"""The page that releases a bundle: it shows whom the release reaches before it can be given."""

from html import unescape
from typing import Any

import pytest
from django.test import Client

from inventory.models import ManagedIdentity
from tests.admin import given
from tests.admin.acting import address, do, hidden, told
from tests.support import ControlPlane, charger
from tests.trustanchors.support import Fleet, cohort, own_bundles
from trustanchors.models import BundleRollout, TrustAnchorBundle

pytestmark = pytest.mark.django_db


@pytest.fixture
def console() -> Client:
    client = Client()
    client.force_login(given.administrator())
    return client


@pytest.fixture
def bundles(plane: ControlPlane) -> list[TrustAnchorBundle]:
    return own_bundles(plane.clock())


def typed(bundles: list[TrustAnchorBundle], whom: int, **values: Any) -> dict[str, Any]:
    """The form as its defaults have it; the other bundle by its name."""
    return {
        "cohort": str(whom),
        "together_with": str(bundles[1]),
        "threshold_percent": "95",
        "concurrency": "20",
        "rate_per_minute": "60",
        "failure_limit": "3",
        "deadline": "1 day",
        "check_interval": "7 days",
        **values,
    }


def words(response: Any) -> str:
    return " ".join(unescape(response.content.decode()).split())


def test_a_release_is_looked_at_and_then_given(
    console: Client, plane: ControlPlane, bundles: list[TrustAnchorBundle]
) -> None:
    fleet = Fleet(plane)
    fleet.add("CS-0")
    disabled = charger("CS-OFF")
    ManagedIdentity.objects.filter(pk=disabled.pk).update(enabled=False)
    north = cohort("North", [*fleet.identities, disabled])
    values = typed(bundles, north.pk)
    url = address(bundles[0], "release")
    assert "a version that was released is never changed again" in words(console.get(url))

    looked = do(console, bundles[0], "release", **values)

    page = words(looked)
    assert looked.status_code == 200
    assert not BundleRollout.objects.exists()
    assert "1 of 1 charger of cohort North" in page
    assert "opens when 1 of 1 charger has confirmed" in page
    assert "Left out: disabled" in page
    assert "1 charger. For example: CS-OFF is disabled; enable it first." in page
    assert 'data-testid="confirm"' in page

    seen = {"seen": looked.context["seen"], "reason": "Profile 3", **hidden(looked)}
    changed = console.post(url, {**values, **seen, "concurrency": "5"})
    assert changed.status_code == 200, "what was changed since is looked at again"
    assert not BundleRollout.objects.exists()

    assert "is released to North" in told(console, console.post(url, {**values, **seen}))
    assert BundleRollout.objects.count() == 2


def test_a_release_that_would_be_refused_says_so_and_cannot_be_given(
    console: Client, plane: ControlPlane, bundles: list[TrustAnchorBundle]
) -> None:
    empty = cohort("Nobody", [])

    page = words(do(console, bundles[0], "release", **typed(bundles, empty.pk)))
    assert "there is nobody to release to" in page
    assert 'data-testid="confirm"' not in page

    nonsense = do(console, bundles[0], "release", **typed(bundles, empty.pk, together_with="Bundle of roses"))
    assert (nonsense.status_code, "There is no bundle 'Bundle of roses'" in words(nonsense)) == (422, True)
    forever = do(console, bundles[0], "release", **typed(bundles, empty.pk, deadline="90 days"))
    assert (forever.status_code, "must be one minute to 30 days" in words(forever)) == (422, True)
    assert not BundleRollout.objects.exists()
