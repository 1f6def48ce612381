"""What the waves of a plan have to do, by wave, family and site, and how long that takes."""

from collections import defaultdict
from datetime import datetime, timedelta
from typing import LiteralString

from django.conf import settings
from django.db import connection

from inventory.models import Plan
from inventory.services import caps
from migration.services import pace, windows
from migration.services.pace import SiteLoad, WaveLoad

MOST_SITES = 5_000
"""Those with the most chargers; a site with few is never what a large migration waits for."""

_GROUPS: LiteralString = """
SELECT split_part(step, ':', 2)::int, {column}, count(*) FROM inventory_plantarget, unnest(steps) AS step
WHERE plan_id = %s AND included AND step LIKE 'wave:%%'
GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT %s
"""
_BY_FAMILY = _GROUPS.replace("{column}", "family_name")
_BY_SITE = _GROUPS.replace("{column}", "site")


def duration(plan: Plan, now: datetime) -> timedelta:
    """How long the migration of a prepared plan takes, in whole seconds; zero where it includes nobody."""
    waves = _waves(plan)
    sites = sorted({site.site for wave in waves for site in wave.sites})
    calendar = windows.calendar_of(sites, now)
    rate = settings.CONFIGURATION.aws_issue_per_second
    found = pace.duration(waves, issued_per_second=rate, calendar=calendar, now=now)
    return timedelta(seconds=round(found.total_seconds()))


def _waves(plan: Plan) -> list[WaveLoad]:
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
        )
        for position, wave in enumerate(plan.parameters["waves"], start=1)
    ]


def _grouped(query: LiteralString, plan: Plan) -> dict[int, list[tuple[str, int]]]:
    """How many chargers of each family, or site, a wave includes."""
    found: dict[int, list[tuple[str, int]]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(query, [plan.pk, MOST_SITES])
        for position, name, number in cursor.fetchall():
            found[position].append((name, number))
    return found
