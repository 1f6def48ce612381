"""What the waves of a plan have to do, by wave, family and site, and how long that takes."""

from collections import defaultdict
from datetime import datetime
from typing import LiteralString

from django.conf import settings
from django.db import connection

from inventory.models import Plan
from inventory.purposes import CHARGER_IDENTITY
from inventory.services import caps
from inventory.services.plans import expecting
from inventory.services.plans.expecting import Expected, Observed
from migration.models import MigrationCase
from migration.services import pace, windows
from migration.services.pace import SiteLoad, WaveLoad
from migration.states import CaseState

_GROUPS: LiteralString = """
SELECT split_part(step, ':', 2)::int, {column}, count(*) FROM inventory_plantarget, unnest(steps) AS step
WHERE plan_id = %s AND included AND step LIKE 'wave:%%'
GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT %s
"""
_BY_FAMILY = _GROUPS.replace("{column}", "family_name")
_BY_SITE = _GROUPS.replace("{column}", "site")


def expected(plan: Plan, now: datetime) -> Expected:
    """How long the migration of a prepared plan takes, in whole seconds, and what that rests on."""
    gets_ready = _installing()
    away = expecting.absences("migration", expecting.at_most_by_policy(CHARGER_IDENTITY.key, pace.AWAY), now)
    waves = _waves(plan, gets_ready, away)
    sites = sorted({site.site for wave in waves for site in wave.sites})
    calendar = windows.calendar_of(sites, now)
    found = pace.duration(
        waves, issued_per_second=settings.CONFIGURATION.aws_issue_per_second, calendar=calendar, now=now
    )
    everybody = expecting.families_of(plan)
    return expecting.expected(
        [found],
        f"{expecting.for_one(gets_ready.typical(everybody), gets_ready, 'until its certificate is installed')} "
        f"{expecting.for_one(away.typical(everybody), away, 'from its cut-over until it is back')}",
    )


def _installing() -> Observed:
    """How long chargers took lately from the request for a certificate until it was installed."""
    moved = MigrationCase.objects.filter(
        state=CaseState.ACTIVE, issue_job__isnull=False, record__installed_at__isnull=False
    ).order_by("-pk")
    rows = moved.values_list("family__name", "issue_job__created_at", "record__installed_at")[: expecting.LOOKED_AT]
    seen = [(family or "", installed - asked) for family, asked, installed in rows if installed is not None]
    return expecting.observed(seen, pace.ON_THE_WAY - pace.AWAY)


def _waves(plan: Plan, gets_ready: Observed, away: Observed) -> list[WaveLoad]:
    families = _grouped(_BY_FAMILY, plan)
    by_site = _grouped(_BY_SITE, plan)
    most_away = caps.most_away_of(sorted({site for sites in by_site.values() for site, _ in sites}))
    return [
        WaveLoad(
            chargers=sum(number for _, number in families[position]),
            per_minute=wave["per_minute"],
            concurrency=wave["concurrency"],
            per_family=wave.get("per_family"),
            per_site=wave.get("per_site"),
            families=[number for _, number in families[position]],
            sites=[SiteLoad(site, number, most_away[site]) for site, number in by_site[position]],
            on_the_way=gets_ready.typical(families[position]) + away.typical(families[position]),
            away=away.typical(families[position]),
        )
        for position, wave in enumerate(plan.parameters["waves"], start=1)
    ]


def _grouped(query: LiteralString, plan: Plan) -> dict[int, list[tuple[str, int]]]:
    """How many chargers of each family, or site, a wave includes."""
    found: dict[int, list[tuple[str, int]]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(query, [plan.pk, expecting.MOST_SITES])
        for position, name, number in cursor.fetchall():
            found[position].append((name, number))
    return found
