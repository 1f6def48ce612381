"""What a list of families says of each: its chargers, the OCPP they speak, and what it lacks for Profile 3.

The number of queries does not grow with the families, and none of them reads more of the fleet than a bounded part.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, LiteralString

from django.db import connection

from inventory.choices import KeyPath
from inventory.models import ChargerFamily
from inventory.services import capabilities

CAP: Final = 10_000
"""Chargers of a family are counted up to here."""
LOOKED_AT: Final = 20
"""So many chargers of a family say which OCPP it speaks: its stations are of one model."""


@dataclass(frozen=True, slots=True)
class FamilyStanding:
    """What a list says of one family."""

    chargers: int
    """`CAP` and one where there are more."""
    protocols: tuple[str, ...]
    """WebSocket subprotocols that some of its chargers used last."""
    missing: tuple[str, ...]
    """What it lacks for Profile 3, in words."""


_COUNTS: LiteralString = """
SELECT family, (
    SELECT count(*) FROM (SELECT 1 FROM inventory_managedidentity WHERE family_id = family LIMIT %s) AS counted)
FROM unnest(%s::bigint[]) AS family
"""
_PROTOCOLS: LiteralString = """
SELECT DISTINCT family, session.protocol
FROM unnest(%s::bigint[]) AS family
CROSS JOIN LATERAL (
    SELECT authoritative_identifier FROM inventory_managedidentity WHERE family_id = family LIMIT %s
) AS charger
CROSS JOIN LATERAL (
    SELECT protocol FROM ocpp_stationsession WHERE station_id = charger.authoritative_identifier
    ORDER BY connected_at DESC LIMIT 1
) AS session
ORDER BY 1, 2
"""


def of(families: Sequence[ChargerFamily]) -> dict[int, FamilyStanding]:
    """The standing of each, by its key."""
    if not families:
        return {}
    keys = [family.pk for family in families]
    chargers = dict(_rows(_COUNTS, [CAP + 1, keys]))
    protocols: dict[int, list[str]] = defaultdict(list)
    for family_id, protocol in _rows(_PROTOCOLS, [keys, LOOKED_AT]):
        protocols[family_id].append(protocol)
    missing = capabilities.missing_of(families)
    return {
        family.pk: FamilyStanding(
            chargers[family.pk],
            tuple(protocols[family.pk]),
            (*(str(item.label) for item in missing[family.pk]), *_key_path(family)),
        )
        for family in families
    }


def _key_path(family: ChargerFamily) -> tuple[str, ...]:
    return ("an approved key path",) if family.key_path == KeyPath.UNAPPROVED else ()


def _rows(query: LiteralString, values: list[Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return list(cursor.fetchall())
