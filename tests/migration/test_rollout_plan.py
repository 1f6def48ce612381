"""A migration is looked at before it is done: who would move, who would not and why, and what cannot be planned."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from inventory.actors import Actor
from inventory.errors import InvalidInputError, NotPermittedError, ParametersError
from inventory.models import ChargerFamily, Cohort, FamilyCapability, ManagedIdentity, PlanTarget
from inventory.services import plans
from inventory.services.plans import NothingToPlanError, PlanChangedError
from migration.models import AuthorizationKey, MigrationCase, MigrationRollout
from migration.services import rollouts
from migration.services.why import why
from tests.admin import given
from tests.migration.fleet import Fleet, capable_family, cohort, plan_of, roll_out
from tests.support import OPERATOR, ControlPlane, charger
from trustanchors.models import BundleInstallation

pytestmark = pytest.mark.django_db


@pytest.fixture
def fleet(plane: ControlPlane) -> Fleet:
    found = Fleet(plane)
    found.add(3, family=capable_family())
    found.confirm_anchors()
    return found


def everybody(fleet: Fleet, *more: ManagedIdentity) -> Cohort:
    return cohort("All", [*(station.identity for station in fleet.stations), *more])


def excluded_by(plan: Any) -> dict[str, str]:
    rows = PlanTarget.objects.filter(plan=plan, included=False)
    return dict(rows.values_list("identity__authoritative_identifier", "reason_code"))


def test_who_would_not_move_is_named_with_the_first_thing_to_mend(plane: ControlPlane, fleet: Fleet) -> None:
    ready, shared, unknown = fleet.stations
    key = AuthorizationKey.objects.get(identity=shared.identity)
    AuthorizationKey.objects.filter(pk=key.pk).update(flag="exposure", flagged_at=plane.clock())
    ManagedIdentity.objects.filter(pk=unknown.identity.pk).update(family=None)
    below = charger("CS-below")

    plan = plan_of(plane, everybody(fleet, below))

    assert excluded_by(plan) == {
        "CS-0001": "key_not_rotated",
        "CS-0002": "family_unknown",
        "CS-below": "below_profile_2",
    }
    assert plan.included == 1
    assert plan.steps == {"cut_over": 1, "issue": 1, "wave:1": 1}
    target = PlanTarget.objects.get(plan=plan, reason_code="key_not_rotated")
    assert "Rotate its AuthorizationKey" in target.reason
    # The answer to why is the same as the plan's.
    for name, code in excluded_by(plan).items():
        answer = why(ManagedIdentity.objects.get(authoritative_identifier=name), plane.clock())
        assert answer is not None
        assert answer.code == code
    assert not MigrationCase.objects.exists()
    assert ready.identity.security_profile == 2


def test_the_title_of_a_plan_names_its_cohorts(plane: ControlPlane, fleet: Fleet) -> None:
    first, *others = [station.identity for station in fleet.stations]

    plan = plan_of(plane, cohort("Pilot", [first]), cohort("North", others))

    assert plan.title == "Migration to Profile 3: Pilot, North"


def test_a_family_without_a_capability_is_excluded(plane: ControlPlane, fleet: Fleet) -> None:
    FamilyCapability.objects.filter(capability="get_log").update(supported=False)
    plan = plan_of(plane, everybody(fleet))
    assert set(excluded_by(plan).values()) == {"capabilities_missing"}
    assert "GetLog" in PlanTarget.objects.filter(plan=plan)[0].reason


def test_an_unapproved_key_path_and_unconfirmed_anchors_are_named(plane: ControlPlane, fleet: Fleet) -> None:
    BundleInstallation.objects.filter(identity=fleet.stations[0].identity).update(state="mismatched")
    assert set(excluded_by(plan_of(plane, everybody(fleet))).values()) == {"anchors_missing"}
    ChargerFamily.objects.update(key_path="unapproved")
    # An approved key path stands in for the second key slot; without it the declared slots still count.
    again = plan_of(plane, Cohort.objects.get(name="All"))
    assert set(excluded_by(again).values()) == {"key_path_unapproved"}


def test_a_charger_that_was_not_seen_for_a_week_is_excluded(plane: ControlPlane, fleet: Fleet) -> None:
    fleet.stations[0].close()
    plane.clock.advance(days=8)
    plan = plan_of(plane, everybody(fleet))
    assert excluded_by(plan) == {"CS-0000": "no_recent_connection"}


def test_a_plan_is_applied_once(plane: ControlPlane, fleet: Fleet) -> None:
    plan = plan_of(plane, everybody(fleet))
    for _ in range(2):
        plans.apply(plan=plan, digest=plan.digest, actor=OPERATOR, reason="test", now=plane.clock())
    assert MigrationRollout.objects.count() == 1
    assert MigrationCase.objects.count() == 3


def test_a_plan_is_refused_after_drift(plane: ControlPlane, fleet: Fleet) -> None:
    plan = plan_of(plane, everybody(fleet))
    ManagedIdentity.objects.filter(pk=fleet.stations[1].identity.pk).update(enabled=False)
    with pytest.raises(PlanChangedError):
        plans.apply(plan=plan, digest=plan.digest, actor=OPERATOR, reason="test", now=plane.clock())
    assert not MigrationRollout.objects.exists()


def test_an_empty_cohort_is_refused(plane: ControlPlane, fleet: Fleet) -> None:
    with pytest.raises(NothingToPlanError):
        plan_of(plane, cohort("Empty", []))


def test_a_wave_that_nobody_would_move_in_is_refused_by_name(plane: ControlPlane, fleet: Fleet) -> None:
    plan = plan_of(plane, everybody(fleet), cohort("Empty", []))
    with pytest.raises(NothingToPlanError, match="wave 2"):
        plans.apply(plan=plan, digest=plan.digest, actor=OPERATOR, reason="test", now=plane.clock())
    assert not MigrationCase.objects.exists()


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"success_threshold_percent": "101"}, "from 1 to 100"),
        ({"success_threshold_percent": "0"}, "from 1 to 100"),
        ({"success_threshold_percent": "96", "failure_threshold_percent": "5"}, "more than all"),
        ({"minimum_sample": "0"}, "from 1"),
        ({"concurrency": "0"}, "from 1"),
        ({"treshold": "5"}, "no parameter treshold"),
        ({"override_forecast": "maybe"}, "yes or no"),
        ({"cohorts": ["Nobody"]}, "no cohort"),
        ({"cohorts": []}, "at least one cohort"),
        ({"cohorts": ["All", "All"]}, "named twice"),
        ({"waves": [{"cohort": "All", "speed": 3}], "cohorts": ""}, "no parameter speed"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    plane: ControlPlane, fleet: Fleet, parameters: dict[str, Any], complaint: str
) -> None:
    everybody(fleet)
    with pytest.raises(InvalidInputError, match=complaint):
        plans.make(
            kind="migration",
            parameters={"cohorts": ["All"], **parameters},
            actor=OPERATOR,
            reason="test",
            now=plane.clock(),
        )


def test_everything_that_cannot_be_is_told_at_once(plane: ControlPlane, fleet: Fleet) -> None:
    everybody(fleet)
    waves = [
        {"cohort": "All", "per_minute": 0, "success_threshold_percent": 100},
        {"cohort": "Nobody", "patience_hours": "soon"},
    ]
    parameters = {"waves": waves, "minimum_sample": 0, "override_forecast": "maybe", "treshold": 5, "name": 4}

    with pytest.raises(ParametersError) as refused:
        plans.make(kind="migration", parameters=parameters, actor=OPERATOR, reason="test", now=plane.clock())

    told = str(refused.value)
    for part in (
        "There is no parameter treshold",
        "minimum_sample needs a whole number from 1 to",
        "override_forecast needs yes or no.",
        "per_minute of wave 1 needs a whole number",
        "The wave of cohort All can never be both: 100 % active and 5 % failed",
        "There is no cohort 'Nobody'",
        "patience_hours of wave 2 needs a whole number",
        "name needs a text.",
    ):
        assert part in told
    pointers = {entry["pointer"] for entry in refused.value.extra["errors"]}
    assert pointers == {
        "/parameters",
        "/parameters/minimum_sample",
        "/parameters/override_forecast",
        "/parameters/waves/0/per_minute",
        "/parameters/waves/1/patience_hours",
        "/parameters/name",
    }


def test_a_charger_in_two_cohorts_moves_in_the_first_wave(plane: ControlPlane, fleet: Fleet) -> None:
    identities = [station.identity for station in fleet.stations]
    rollout = roll_out(plane, cohort("First", identities[:2]), cohort("Second", identities[1:]))
    first, second = rollout.waves.order_by("position")
    assert (first.cases.count(), second.cases.count()) == (2, 1)


def test_one_rollout_at_a_time_moves_a_charger_and_a_stopped_one_lets_it_go(plane: ControlPlane, fleet: Fleet) -> None:
    group = everybody(fleet)
    rollout = roll_out(plane, group)
    assert set(excluded_by(plan_of(plane, group)).values()) == {"under_way"}

    rollouts.stop(rollout=rollout, actor=OPERATOR, reason="test", now=plane.clock())
    answer = why(fleet.stations[0].identity, plane.clock())
    assert answer is not None
    assert answer.code == "wave_ended"
    again = roll_out(plane, group)

    assert set(MigrationCase.objects.values_list("wave__rollout", flat=True)) == {again.pk}
    fleet.settle(20)
    assert set(fleet.states().values()) == {"active"}


def test_a_new_charger_of_a_capable_family_opens_a_case_by_default(plane: ControlPlane, fleet: Fleet) -> None:
    from bfcerts.ocpp.canonical import Evidence

    identity = charger("CS-new", family=fleet.stations[0].identity.family)
    for _ in range(2):
        plane.observe("CS-new", Evidence.BOOTED, {"reason": "PowerUp", "firmware_version": "1.0"})
        plane.work()

    case = MigrationCase.objects.get(identity=identity)
    assert (case.state, case.wave, case.reason_code) == ("pending", None, "below_profile_2")
    ManagedIdentity.objects.filter(pk=identity.pk).update(security_profile=2)
    answer = why(ManagedIdentity.objects.get(pk=identity.pk), plane.clock())
    assert answer is not None
    assert answer.code == "key_not_rotated"


def test_to_plan_a_migration_and_to_override_its_forecast_are_permissions_of_their_own(
    plane: ControlPlane, fleet: Fleet
) -> None:
    everybody(fleet)
    viewer = Actor.person(given.person("viewer", *given.view_permissions()))
    starter = Actor.person(given.person("starter", "migration.start_migrationrollout"))
    values: dict[str, Any] = {"kind": "migration", "reason": "test", "now": plane.clock()}
    with pytest.raises(NotPermittedError):
        plans.make(parameters={"cohorts": ["All"]}, actor=viewer, **values)

    plan = plans.make(parameters={"cohorts": ["All"], "override_forecast": "yes"}, actor=starter, **values)
    with pytest.raises(NotPermittedError, match="override_lockout_forecast"):
        plans.apply(plan=plan, digest=plan.digest, actor=starter, reason="test", now=plane.clock())


def test_the_page_of_a_plan_shows_its_waves_and_parameters_in_words(plane: ControlPlane, fleet: Fleet) -> None:
    plan = plan_of(plane, everybody(fleet))
    console = Client()
    console.force_login(given.administrator())

    page = console.get(reverse("admin:inventory_plan_change", args=[plan.pk]))

    assert page.status_code == 200
    shown = dict(page.context["parameters"])
    assert shown["Wave 1"].startswith("cohort All, ")
    assert shown["Override forecast"] == "no"
    assert shown["Retry budget"] == str(plan.parameters["retry_budget"])
