"""What the database refuses, whoever asks."""

from collections.abc import Callable

import pytest
from django.db import IntegrityError, InternalError, ProgrammingError, connection, transaction

from tests.support import ControlPlane
from tests.trustanchors.support import Fleet, again, cohort, own_bundles, release
from trustanchors.models import BundleAnchor, BundleInstallation, BundleRollout, TrustAnchor, TrustAnchorBundle

pytestmark = pytest.mark.django_db


@pytest.fixture
def rollout(plane: ControlPlane) -> BundleRollout:
    """Half of its chargers have confirmed: the gate is closed."""
    fleet = Fleet(plane)
    fleet.add("CS-0")
    fleet.add("CS-1", silent=True)
    made, _ = release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities))
    fleet.settle(3)
    assert (again(made).confirmed, again(made).targets) == (1, 2)
    return made


REFUSED: dict[str, Callable[[BundleRollout], object]] = {
    "an anchor changes": lambda rollout: TrustAnchor.objects.update(subject="CN=Somebody"),
    "an anchor is removed": lambda rollout: execute("DELETE FROM trustanchors_trustanchor"),
    "a released bundle gets an anchor": lambda rollout: BundleAnchor.objects.create(
        bundle=rollout.bundle, anchor=TrustAnchor.objects.exclude(bundles=rollout.bundle).get(), position=9
    ),
    "a released bundle loses an anchor": lambda rollout: execute(
        "DELETE FROM trustanchors_bundleanchor WHERE bundle_id = %s", rollout.bundle_id
    ),
    "a bundle becomes a draft again": lambda rollout: TrustAnchorBundle.objects.update(state="draft"),
    "the counts are set by hand": lambda rollout: BundleRollout.objects.filter(pk=rollout.pk).update(confirmed=2),
    "the gate is set by hand": lambda rollout: execute(
        "UPDATE trustanchors_bundlerollout SET gate_open = true WHERE id = %s", rollout.pk
    ),
    "a target is taken away": lambda rollout: execute(
        "DELETE FROM trustanchors_bundleinstallation WHERE state = 'intended'"
    ),
    "an installation jumps over its steps": lambda rollout: BundleInstallation.objects.filter(
        rollout=rollout, state="intended"
    ).update(state="active"),
    "a rollout leaves for another cohort": lambda rollout: execute(
        "UPDATE trustanchors_bundlerollout SET cohort_id = -1 WHERE id = %s", rollout.pk
    ),
    "history is rewritten": lambda rollout: execute("UPDATE trustanchors_historicalbundlerollout SET actor = 'nobody'"),
}


def execute(statement: str, *values: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


@pytest.mark.parametrize("attempt", REFUSED)
def test_the_database_refuses(rollout: BundleRollout, attempt: str) -> None:
    with pytest.raises((IntegrityError, InternalError, ProgrammingError)), transaction.atomic():
        REFUSED[attempt](rollout)

    assert not again(rollout).gate_open


def test_the_gate_follows_from_the_counts(rollout: BundleRollout) -> None:
    BundleRollout.objects.filter(pk=rollout.pk).update(threshold_percent=51)
    assert (again(rollout).needed, again(rollout).gate_open) == (2, False)

    BundleRollout.objects.filter(pk=rollout.pk).update(threshold_percent=50)
    assert (again(rollout).needed, again(rollout).gate_open) == (1, True)
