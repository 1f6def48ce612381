"""Plans in the console: made on a page, looked at, applied as shown."""

from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from inventory.models import CertificateRecord, ManagedIdentity, Plan
from inventory.services import plans
from inventory.services.plans import applying, judging, running
from tests.admin import given
from tests.support import OPERATOR, Clock, charger

pytestmark = pytest.mark.django_db

REASON = "They were stolen"


@pytest.fixture
def plan() -> Plan:
    made = given.plan()
    assert isinstance(made, Plan)
    return made


def page_of(console: Client, plan: Plan, query: str = "") -> str:
    answer = console.get(reverse("admin:inventory_plan_change", args=[plan.pk]) + query)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def do(console: Client, plan: Plan, verb: str, **values: str) -> Any:
    plan.refresh_from_db()
    url = reverse("admin:inventory_plan_do", args=[plan.pk, verb])
    opened = console.get(url).content.decode()
    version = opened.split('name="version" value="')[1].split('"')[0] if 'name="version"' in opened else ""
    body = {"reason": REASON, "idempotency_key": f"{verb}-key", "version": version, **values}
    return console.post(url, body, follow=True)


def test_a_plan_is_made_for_what_a_form_names(console: Client) -> None:
    given.active_record(charger("CS-1", site="Depot"))
    charger("CS-2", site="Harbour")
    assert 'data-testid="kind-bulk_revocation"' in console.get(reverse("admin:inventory_plan_new")).content.decode()
    url = reverse("admin:inventory_plan_new_kind", args=["bulk_revocation"])
    body = {
        "site": "Depot\r\nHarbour\r\n",
        "purpose": "charger_identity",
        "revocation_reason": "keyCompromise",
        "reason": REASON,
    }

    answer = console.post(url, body, follow=True)

    page = unescape(answer.content.decode())
    made = Plan.objects.get()
    assert made.parameters["site"] == ["Depot", "Harbour"]
    assert "nothing has been done yet" in page
    assert "1 of 2" in page
    assert made.digest in page
    assert "CS-2 has no certificate that could be revoked." in page
    assert "By site" in page


def test_what_a_form_cannot_mean_is_said_beside_what_was_typed(console: Client) -> None:
    url = reverse("admin:inventory_plan_new_kind", args=["bulk_revocation"])

    answer = console.post(
        url, {"cohort": "Missing", "purpose": "charger_identity", "revocation_reason": "unspecified", "reason": REASON}
    )

    page = unescape(answer.content.decode())
    assert answer.status_code == 400
    assert "There is no cohort 'Missing'" in page
    assert 'value="Missing"' in page
    assert not Plan.objects.exists()


def test_the_shown_plan_is_applied_with_a_reason(console: Client, plan: Plan, clock: Clock) -> None:
    answer = do(console, plan, "apply", digest=plan.digest)

    plan.refresh_from_db()
    assert (plan.state, plan.applied_reason) == ("applied", REASON)
    assert "is applied: 1 target" in unescape(answer.content.decode())
    running.run_plans(clock())
    assert CertificateRecord.objects.get().state == "revoked"
    assert "Revoked:" in page_of(console, plan, "?show=outcome:done")


def test_drift_is_shown_on_the_page(console: Client) -> None:
    record = given.active_record(charger("CS-1", site="Depot"))
    url = reverse("admin:inventory_plan_new_kind", args=["bulk_revocation"])
    console.post(
        url, {"site": "Depot", "purpose": record.purpose, "revocation_reason": "unspecified", "reason": REASON}
    )
    plan = Plan.objects.get()
    given.active_record(charger("CS-2", site="Depot"))

    answer = do(console, plan, "apply", digest=plan.digest)

    assert answer.status_code == 409
    assert "1 new. First: CS-2 is new" in unescape(answer.content.decode())
    plan.refresh_from_db()
    assert plan.state == "planned"


def test_a_running_plan_is_paused_resumed_and_stopped(console: Client, plan: Plan) -> None:
    do(console, plan, "apply", digest=plan.digest)

    for verb, run in (("pause", "paused"), ("resume", "running"), ("stop", "stopped")):
        do(console, plan, verb)
        plan.refresh_from_db()
        assert plan.run == run
    assert "The plan was stopped" in page_of(console, plan)


def test_targets_are_shown_by_group_and_a_page_at_a_time(console: Client) -> None:
    for number in range(51):
        charger(f"CS-{number}", site="Depot")
    given.active_record(charger("CS-with", site="Depot"))
    url = reverse("admin:inventory_plan_new_kind", args=["bulk_revocation"])
    console.post(
        url,
        {"site": "Depot", "purpose": "charger_identity", "revocation_reason": "unspecified", "reason": REASON},
    )
    plan = Plan.objects.get()

    included, first = page_of(console, plan, "?show=included"), page_of(console, plan, "?show=reason:no_certificate")
    second = page_of(console, plan, "?show=reason:no_certificate&after=50")

    assert "CS-with" in included
    assert "CS-0" not in included
    assert "Further targets" in first
    assert "CS-50" not in first
    assert "CS-50" in second
    assert "Further targets" not in second


def test_planning_takes_the_permission_of_what_is_planned(plan: Plan) -> None:
    viewer = Client()
    viewer.force_login(given.person("viewer", *given.view_permissions()))
    renewer = Client()
    renewer.force_login(given.person("renewer", "inventory.view_plan", "inventory.renew_certificaterecord"))
    new, revoking = (
        reverse("admin:inventory_plan_new"),
        reverse("admin:inventory_plan_new_kind", args=["bulk_revocation"]),
    )

    assert viewer.get(new).status_code == 403
    assert 'data-testid="new-plan"' not in viewer.get(reverse("admin:inventory_plan_changelist")).content.decode()
    kinds = renewer.get(new).content.decode()
    assert "kind-bulk_renewal" in kinds
    assert "kind-bulk_revocation" not in kinds
    assert renewer.get(revoking).status_code == 403
    assert "confirm" not in viewer.get(reverse("admin:inventory_plan_do", args=[plan.pk, "apply"])).content.decode()
    plan.refresh_from_db()
    assert plan.state == "planned"


def large(clock: Clock, count: int = judging.BATCH + 5) -> Plan:
    """A plan of more than a batch, that includes one charger."""
    given.active_record(charger("CS-with", site="Depot"))
    ManagedIdentity.objects.bulk_create(
        ManagedIdentity(kind="charger", authoritative_identifier=f"CS-{number}", site="Depot")
        for number in range(count - 1)
    )
    parameters = {"site": "Depot"}
    return plans.make(kind="bulk_revocation", parameters=parameters, actor=OPERATOR, reason="x", now=clock())


def test_how_far_a_large_plan_is_stands_on_its_page(console: Client, clock: Clock) -> None:
    plan = large(clock)

    said = unescape(do(console, plan, "apply", digest=plan.digest).content.decode())

    assert "is compared with how things stand now, then applied" in said
    assert "2000 of 2005 were compared with how things stand now" in said
    again = console.get(reverse("admin:inventory_plan_do", args=[plan.pk, "apply"])).content.decode()
    assert "The plan is being applied." in unescape(again)
    applying.check_waiting(clock())
    done = page_of(console, plan)
    assert 'data-state="applied"' in done
    assert 'data-testid="applying"' not in done


def test_what_a_large_plan_was_refused_for_stands_on_its_page(console: Client, clock: Clock) -> None:
    plan = large(clock)
    given.active_record(ManagedIdentity.objects.order_by("-pk")[0])

    do(console, plan, "apply", digest=plan.digest)
    applying.check_waiting(clock())

    page = page_of(console, plan)
    assert "and refused: The plan is no longer true: 1 changed." in page
    assert 'data-testid="changed"' in page
    assert 'data-state="planned"' in page


@pytest.mark.parametrize("group", ["", "included", "reason:no_certificate", "outcome:waiting"])
def test_a_page_of_targets_is_found_by_an_index_wherever_it_is(console: Client, clock: Clock, group: str) -> None:
    """However many targets there are, no page of them sorts or reads the others."""
    plans_made = [large(clock, 3_000)]
    parameters = {"site": "Depot"}
    plans_made.append(
        plans.make(kind="bulk_revocation", parameters=parameters, actor=OPERATOR, reason="x", now=clock())
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")

    with CaptureQueriesContext(connection) as captured:
        page_of(console, plans_made[0], f"?show={group}&after=1500")

    (of_targets,) = [
        query["sql"]
        for query in captured
        if 'FROM "inventory_plantarget"' in query["sql"] and "LIMIT 51" in query["sql"]
    ]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {of_targets}")
        explained = "\n".join(row[0] for row in cursor.fetchall())
    assert "Index Scan using" in explained
    assert "Sort" not in explained


def test_an_unknown_kind_of_plan_and_the_usual_address_of_a_new_one_lead_to_the_choice(console: Client) -> None:
    choice = reverse("admin:inventory_plan_new")

    added = console.get(reverse("admin:inventory_plan_changelist") + "add/")
    assert (added.status_code, added.headers["Location"]) == (302, choice)

    nonsense = console.get(reverse("admin:inventory_plan_new_kind", args=["nonsense"]), follow=True)
    assert nonsense.redirect_chain == [(choice, 302)]
    assert "There is no kind of plan “nonsense”. Choose one here." in unescape(nonsense.content.decode())


def test_every_number_that_cannot_be_used_is_told_at_its_field_in_the_words_of_the_form(console: Client) -> None:
    url = reverse("admin:inventory_plan_new_kind", args=["migration"])
    values = {"cohorts": "Pilot", "success_threshold_percent": "all", "per_minute": "0", "reason": REASON}

    answer = console.post(url, {"advance_automatically": "yes", "override_forecast": "no", **values})

    assert answer.status_code == 400
    assert answer.context["form"].errors == {
        "success_threshold_percent": ["Success threshold percent needs a whole number from 1 to 100."],
        "per_minute": ["Per minute needs a whole number from 1 to 1,000,000."],
        "__all__": ["There is no cohort 'Pilot'; its name may have changed."],
    }


def test_what_a_form_lacks_is_told_together_with_what_cannot_be(console: Client) -> None:
    url = reverse("admin:inventory_plan_new_kind", args=["migration"])

    answer = console.post(
        url, {"success_threshold_percent": "99", "failure_threshold_percent": "9", "minimum_sample": "0"}
    )

    errors = answer.context["form"].errors
    assert answer.status_code == 400
    assert errors["reason"] == ["Say why you do this."]
    assert errors["minimum_sample"] == ["Minimum sample needs a whole number from 1 to 1,000,000."]
    (whole,) = errors["__all__"]
    assert "99 % active and 9 % failed are more than all" in whole
    assert "A migration needs at least one cohort" in whole
