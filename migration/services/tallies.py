"""How many chargers of a wave stand how, at a cost that follows what moved since it was last asked.

The database keeps the tallies (`migration.models.CaseTally`); here they are read, and put together now and then.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, LiteralString

from django.db import connection
from django.db.models import Count

from migration.models import CaseTally, Wave
from migration.states import CaseState

MOST_ROWS: Final = 200
"""Of one wave; beyond that they are put together."""
ENDED: Final = (CaseState.CANCELLED, CaseState.EXCEPTED, CaseState.QUARANTINE)
"""Nothing more comes of these by itself."""

_TALLIED: Final[LiteralString] = """
SELECT wave_id, state, failed, false, sum(number) FROM migration_casetally
WHERE wave_id = ANY(%(waves)s) GROUP BY 1, 2, 3
"""
# Of the failed alone, by their index; in the same statement, because between two a charger could move.
_PASSED_OVER: Final[LiteralString] = """
UNION ALL
SELECT wave_id, state, true, true, count(*) FROM migration_migrationcase
WHERE wave_id = ANY(%(waves)s) AND state <> 'active'
    AND (failed_at IS NOT NULL OR (state = 'quarantine' AND reason_code <> 'breaker_open'))
    AND (family_id = ANY(%(families)s) OR site = ANY(%(sites)s)
        OR (state = ANY(%(ended)s) AND coalesce(failed_at, entered_state_at) <= %(accepted_until)s))
GROUP BY 1, 2
"""
_TOGETHER: Final[LiteralString] = """
WITH gone AS (DELETE FROM migration_casetally WHERE wave_id = ANY(%s) RETURNING wave_id, state, failed, number)
INSERT INTO migration_casetally (wave_id, state, failed, number)
SELECT wave_id, state, failed, sum(number) FROM gone GROUP BY 1, 2, 3 HAVING sum(number) <> 0
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a charger stands, as far as its wave is concerned."""

    state: str
    failed: bool
    """Its last try failed, or a person has quarantined it."""
    passed_over: bool = False
    """It failed, and closes no gate."""


def of_waves(
    waves: Sequence[Wave],
    *,
    stopped_families: Collection[int] = (),
    stopped_sites: Collection[str] = (),
    accepted_until: datetime | None = None,
) -> dict[int, Counter[Standing]]:
    """How many chargers of each wave stand how.

    :param stopped_families: their failures are passed over, and so are those of `stopped_sites`.
    :param accepted_until: whoever had failed and ended by then is passed over too.
    """
    passes_over = bool(stopped_families or stopped_sites or accepted_until)
    values: dict[str, Any] = {
        "waves": [wave.pk for wave in waves],
        "families": list(stopped_families),
        "sites": list(stopped_sites),
        "ended": list(ENDED),
        "accepted_until": accepted_until,
    }
    found: dict[int, Counter[Standing]] = {wave.pk: Counter() for wave in waves}
    with connection.cursor() as cursor:
        cursor.execute(_TALLIED + _PASSED_OVER if passes_over else _TALLIED, values)
        for wave_id, state, failed, passed_over, number in cursor.fetchall():
            standing = Standing(state, failed, passed_over)
            found[wave_id][standing] += number
            if passed_over:
                found[wave_id][replace(standing, passed_over=False)] -= number
    return found


def put_together(waves: Sequence[Wave]) -> None:
    """Replace the rows of waves that have many by their sums; whoever reads meanwhile sees the ones or the others."""
    rows = CaseTally.objects.filter(wave__in=waves).order_by().values("wave_id").annotate(rows=Count("pk"))
    many = list(rows.filter(rows__gt=MOST_ROWS).values_list("wave_id", flat=True))
    if many:
        with connection.cursor() as cursor:
            cursor.execute(_TOGETHER, [many])
