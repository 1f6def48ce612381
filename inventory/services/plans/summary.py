"""What a plan comes to: counts, and the risk by family and by site."""

from collections.abc import Mapping
from typing import Any

from django.db import connection
from django.db.models import Count

from inventory.choices import SubjectKind
from inventory.models import ManagedIdentity, Plan, PlanTarget
from inventory.services.plans import selection
from inventory.services.plans.kinds import GroupedPlanKind, PlanCounts, PlanKind, kind_named

SHOWN = 50
"""Families and sites that a plan names; the rest is counted."""


def title(kind: PlanKind, parameters: Mapping[str, Any]) -> str:
    """What a plan is called where nobody has named it."""
    return f"{kind.label}: {selection.in_words(parameters) or 'all'}"


def counts(plan: Plan) -> PlanCounts:
    """What the stored targets add up to."""
    excluded = PlanTarget.objects.filter(plan=plan, included=False).values_list("reason_code").annotate(Count("pk"))
    kind = kind_named(plan.kind)
    groups = list(kind.groups) if isinstance(kind, GroupedPlanKind) else []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT CASE WHEN split_part(step, ':', 1) = ANY(%s) THEN step ELSE split_part(step, ':', 1) END, count(*) "
            "FROM inventory_plantarget, unnest(steps) AS step WHERE plan_id = %s AND included GROUP BY 1 ORDER BY 1",
            [groups, plan.pk],
        )
        steps = dict(cursor.fetchall())
    return PlanCounts(plan.candidates, plan.included, dict(excluded.order_by("reason_code")), steps)


def risk(plan: Plan) -> dict[str, Any]:
    """How many of each family and of each site are included, and of how many that these have.

    :returns: `families` and `sites`, each a list of name, included and chargers, the most concerned first, and
        `more_families` and `more_sites`, how many are not named.
    """
    result: dict[str, Any] = {}
    for name, column, source in (("families", "family_name", "family__name"), ("sites", "site", "site")):
        groups = PlanTarget.objects.filter(plan=plan, included=True).values_list(column).annotate(number=Count("pk"))
        most = list(groups.order_by("-number", column)[:SHOWN])
        there_are = groups.count() if len(most) == SHOWN else len(most)
        chargers = ManagedIdentity.objects.filter(kind=SubjectKind.CHARGER, enabled=True)
        fleet = dict(
            chargers.filter(**{f"{source}__in": [group for group, _ in most if group]})
            .order_by()
            .values_list(source)
            .annotate(Count("pk"))
        )
        result[name] = [{"name": group, "included": number, "chargers": fleet.get(group)} for group, number in most]
        result[f"more_{name}"] = there_are - len(most)
    return result
