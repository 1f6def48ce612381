"""The command line, plans and the artifact store: other ways to the same services."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from inventory.choices import ArtifactKind
from inventory.errors import InventoryError
from inventory.models import Artifact, Plan
from inventory.services import artifacts, plans
from tests.admin import given
from tests.support import OPERATOR, ControlPlane
from tests.trustanchors.support import Fleet, cohort, own_bundles, own_root, release
from trustanchors.models import BundleRollout, TrustAnchorBundle
from trustanchors.services import keeping, membership

pytestmark = pytest.mark.django_db


def command(*arguments: str, **options: Any) -> str:
    told = StringIO()
    call_command("anchors", *arguments, user="maria", reason="test", stdout=told, **options)
    return told.getvalue()


def test_the_command_line_goes_from_a_file_to_a_rollout(plane: ControlPlane, tmp_path: Path) -> None:
    given.administrator()
    fleet = Fleet(plane)
    fleet.add("CS-0")
    cohort("North", fleet.identities)
    for purpose in ("charger_identity", "backend_server"):
        file = tmp_path / f"{purpose}.pem"
        file.write_text(own_root(purpose))
        number = command("add", str(file), purpose=purpose).split(":")[0].removeprefix("Anchor ")
        command("bundle", number, purpose=purpose)
    numbers = [str(pk) for pk in TrustAnchorBundle.objects.order_by("pk").values_list("pk", flat=True)]

    listed = command("list")
    for bundle in TrustAnchorBundle.objects.all():
        assert f"{bundle.pk:>6}  {bundle}, draft" in listed
    assert command("preview", *numbers, cohort="North") == "1 of 1 charger can take the release.\n"
    assert "Charger identity anchors, version 1 to North" in command("release", *numbers, cohort="North")
    fleet.settle(3)

    rollout = str(BundleRollout.objects.earliest("pk").pk)
    assert "Gate open: 1 of 1 confirmed, 1 needed" in command("status", rollout)
    assert "is withdrawn; its gates are closed" in command("withdraw", numbers[0])


def test_the_command_line_says_the_sentences_of_the_services(plane: ControlPlane, tmp_path: Path) -> None:
    given.administrator()
    cohort("North", [])
    file = tmp_path / "nothing.pem"
    file.write_text("nothing")

    with pytest.raises(CommandError, match="is not PEM"):
        command("add", str(file))
    with pytest.raises(CommandError, match="There is no bundle '99'"):
        command("release", "99", cohort="North")
    with pytest.raises(CommandError, match="There is no cohort 'South'"):
        command("release", str(own_bundles(plane.clock())[0].pk), cohort="South")


def planned(plane: ControlPlane, versions: list[TrustAnchorBundle]) -> Plan:
    return plans.make(
        kind="bundle_release",
        parameters={"bundles": [str(one.pk) for one in versions], "cohort": "North"},
        actor=OPERATOR,
        reason="test",
        now=plane.clock(),
    )


def test_a_release_is_planned_then_applied_as_it_was_looked_at(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    fleet.add("CS-0")
    cohort("North", fleet.identities)

    plan = planned(plane, own_bundles(plane.clock()))
    assert (plan.included, BundleRollout.objects.count()) == (1, 0)
    plans.apply(plan=plan, digest=plan.digest, actor=OPERATOR, reason="go", now=plane.clock())
    fleet.settle(3)

    assert set(BundleRollout.objects.values_list("state", "gate_open")) == {("complete", True)}


def test_a_plan_that_would_strand_somebody_cannot_be_applied(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    fleet.add("CS-0")
    cohort("North", fleet.identities)
    plan = planned(plane, own_bundles(plane.clock())[:1])

    assert plan.excluded == {"not_covered": 1}
    with pytest.raises(InventoryError):
        plans.apply(plan=plan, digest=plan.digest, actor=OPERATOR, reason="go", now=plane.clock())
    assert BundleRollout.objects.count() == 0


def test_a_released_bundle_is_kept_as_it_was_released(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    fleet.add("CS-0")
    first, second = own_bundles(plane.clock())
    release(plane, [first, second], cohort("North", fleet.identities))
    membership.take_in_members(plane.clock())

    assert [keeping.keep_released_bundles(plane.clock()) for _ in range(2)] == [2, 0]

    kept = Artifact.objects.get(kind=ArtifactKind.BUNDLE, origin__startswith=f"bundle:{first.pk}:")
    content = b"".join(artifacts.read(artifact=kept, actor=OPERATOR, now=plane.clock()))
    assert content.decode() == first.ordered_anchors()[0].certificate_pem
