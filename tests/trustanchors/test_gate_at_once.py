"""The gate of a cut-over and a withdrawal at the same time: the withdrawal is seen, or it comes afterwards."""

import threading

import pytest
from django.db import transaction

from inventory.models import ManagedIdentity
from inventory.seams import Gated
from tests.support import OPERATOR, PATIENCE_SECONDS, ControlPlane, in_threads, somebody_waits_for_a_lock, wait_until
from tests.trustanchors.support import Fleet, cohort, own_bundles, release
from trustanchors.models import BundleRollout
from trustanchors.services.gate import gate
from trustanchors.services.withdrawal import withdraw


@pytest.mark.django_db(transaction=True)
def test_a_withdrawal_waits_for_a_cut_over_that_found_the_gate_open(control_plane: ControlPlane) -> None:
    plane = control_plane
    fleet = Fleet(plane)
    identity = ManagedIdentity.objects.get(pk=fleet.add("CS-0").identity.pk)
    rollout, _ = release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities))
    fleet.settle(3)
    looked = threading.Event()

    def cutting_over() -> str:
        with transaction.atomic():
            assert gate(Gated.CUT_OVER, [identity], plane.clock()) == {}
            looked.set()
            wait_until(somebody_waits_for_a_lock, "the withdrawal to wait for the cut-over")
            return str(BundleRollout.objects.get(pk=rollout.pk).state)

    def withdrawing() -> str:
        assert looked.wait(PATIENCE_SECONDS)
        withdraw(bundle=rollout.bundle, override_forecast=True, actor=OPERATOR, reason="wrong root", now=plane.clock())
        return str(BundleRollout.objects.get(pk=rollout.pk).state)

    assert in_threads(cutting_over, withdrawing) == ["complete", "withdrawn"]
    assert "is withdrawn" in gate(Gated.CUT_OVER, [identity], plane.clock())[identity.pk]
