"""`manage.py plan`: it plans by default, and applies only by the digest."""

from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError

from inventory.choices import PlanState
from inventory.models import ManagedIdentity, Plan
from inventory.services.plans import judging
from tests.support import ControlPlane, charger

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _maria(plane: ControlPlane) -> None:
    User.objects.create_superuser("maria")
    plane.enrol(charger("CS-1", site="Depot", region="North"))
    charger("CS-2", site="Harbour", region="North")


def plan(*arguments: str, **options: Any) -> str:
    out = StringIO()
    call_command("plan", *arguments, "--as", "maria", "--reason", "spring", stdout=out, **options)
    return out.getvalue()


def test_a_plan_is_printed_and_nothing_is_done() -> None:
    said = plan("bulk_renewal", "--param", "region=North")

    made = Plan.objects.get()
    assert made.state == PlanState.PLANNED
    assert "1 of 2 targets is included" in said
    assert "1  no active certificate; for example: CS-2 has no active certificate to renew; issue one instead." in said
    assert "Site Depot: 1 of 1" in said
    assert f"Digest {made.digest}" in said
    assert "Nothing was done." in said


def test_the_digest_applies_it() -> None:
    plan("bulk_renewal", "--param", "site=Depot", "--param", "site=Harbour")
    made = Plan.objects.get()
    assert made.parameters["site"] == ["Depot", "Harbour"]

    assert "applied" in plan("--apply", made.digest)

    made.refresh_from_db()
    assert (made.state, made.applied_by) == (PlanState.APPLIED, "person:maria")


def many_more() -> None:
    ManagedIdentity.objects.bulk_create(
        ManagedIdentity(kind="charger", authoritative_identifier=f"CS-more-{number}", region="North")
        for number in range(judging.BATCH)
    )


def test_a_large_plan_is_waited_for_until_it_is_applied() -> None:
    many_more()
    plan("bulk_renewal", "--param", "region=North")
    made = Plan.objects.get()

    assert f"Plan {made.pk}, “{made}”: applied." in plan("--apply", made.digest)


def test_drift_of_a_large_plan_is_said_in_the_same_sentence() -> None:
    many_more()
    plan("bulk_renewal", "--param", "region=North")
    charger("CS-9", region="North")

    with pytest.raises(CommandError, match=r"The plan is no longer true: 1 new\. First: CS-9 is new"):
        plan("--apply", Plan.objects.get().digest)


def test_drift_is_said_in_a_sentence() -> None:
    plan("bulk_renewal", "--param", "region=North")
    charger("CS-9", region="North")

    with pytest.raises(CommandError, match=r"The plan is no longer true: 1 new\. First: CS-9 is new"):
        plan("--apply", Plan.objects.get().digest)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Name a kind of plan: bulk_renewal"),
        (["nonsense"], "'nonsense' is no kind of plan"),
        (["bulk_renewal", "--param", "site"], "'site' is no parameter; write NAME=VALUE"),
        (["bulk_renewal", "--param", "site=Nowhere"], "Nobody is concerned"),
        (["--apply", "0" * 64], "no plan with the digest"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        plan(*arguments)


def test_it_takes_somebody_who_may() -> None:
    User.objects.create_user("nobody")

    for user, sentence in (("nobody", "permission"), ("missing", "no user 'missing'")):
        with pytest.raises(CommandError, match=sentence):
            call_command("plan", "bulk_renewal", "--param", "site=Depot", "--as", user, "--reason", "x")


def test_a_digest_of_another_kind_is_refused() -> None:
    plan("bulk_renewal", "--param", "site=Depot")

    with pytest.raises(CommandError, match="is a bulk_renewal, not a bulk_revocation"):
        plan("bulk_revocation", "--apply", Plan.objects.get().digest)
