"""What the places of a site say of its chargers: who is away and for what, who is lost, who is there to stay.

By what is stored of their connections, so that nothing has to be told here when a charger comes or goes.
"""

from datetime import datetime, timedelta
from typing import Any, Final, LiteralString

from django.db import connection

from inventory.models import ManagedIdentity

LOST_AFTER: Final = timedelta(days=3)
"""A charger that was not connected for so long is lost: it holds no place, and nobody of its site waits for it."""
MOST_NAMED: Final = 3

IS_THERE: Final[LiteralString] = """(SELECT true FROM ocpp_stationsession s
    WHERE s.station_id = i.authoritative_identifier AND s.closed_at IS NULL LIMIT 1) IS TRUE"""
"""Whether charger `i` is connected. No EXISTS, for which the connections of the whole fleet might be read."""
LAST_SEEN: Final[LiteralString] = """(SELECT s.closed_at FROM ocpp_stationsession s
    WHERE s.station_id = i.authoritative_identifier ORDER BY s.connected_at DESC LIMIT 1)"""
"""When charger `i`, which is not connected, last was; NULL for never."""
COUNTS: Final[LiteralString] = f"""CASE WHEN {IS_THERE} THEN a.until > %(now)s
    ELSE coalesce({LAST_SEEN} > %(lost)s AND (a.until > %(now)s OR {LAST_SEEN} <= a.until), a.until > %(now)s) END"""
"""Whether the open place `a` of charger `i` holds: one that left holds it until it is seen again, or lost."""
OTHERS: Final[LiteralString] = """inventory_managedidentity i
    WHERE i.site = %(site)s AND i.kind = 'charger' AND i.enabled AND i.id <> %(identity)s"""
"""The other chargers of a site."""

_HOLDERS: Final[LiteralString] = f"""
SELECT i.authoritative_identifier, a.kind, a.started_at, {IS_THERE}, count(*) OVER ()
FROM inventory_plannedabsence a JOIN inventory_managedidentity i ON i.id = a.identity_id
WHERE a.site = %(site)s AND a.identity_id <> %(identity)s AND a.ended_at IS NULL AND {COUNTS}
ORDER BY a.started_at, a.id LIMIT %(most)s
"""  # noqa: S608  # literals of our own
_MISSING: Final[LiteralString] = f"""
SELECT i.authoritative_identifier, {LAST_SEEN}, count(*) OVER ()
FROM {OTHERS} AND NOT {IS_THERE} AND {LAST_SEEN} > %(lost)s
ORDER BY 2, 1 LIMIT %(most)s
"""  # noqa: S608  # literals of our own
_OWN: Final[LiteralString] = f"""
SELECT {IS_THERE}, (SELECT a.kind FROM inventory_plannedabsence a WHERE a.identity_id = i.id AND a.ended_at IS NULL
    AND {COUNTS}) FROM inventory_managedidentity i WHERE i.id = %(identity)s
"""  # noqa: S608  # literals of our own

_works: dict[str, str] = {"renewal": "the renewal of its certificate", "cut_over": "its cut-over to Profile 3"}


def name_work(kind: str, words: str) -> None:
    """Say what chargers are away for whose place begins with this kind and a colon."""
    _works[kind] = words


def parameters(identity: ManagedIdentity, now: datetime) -> dict[str, Any]:
    """What the statements here are asked with."""
    return {"identity": identity.pk, "site": identity.site, "now": now, "lost": now - LOST_AFTER}


def why_not(identity: ManagedIdentity, why: str, now: datetime, *, longest: int = 400) -> str:
    """Why its site cannot spare this charger for this work now: who of it is away, for what and since when.

    :param longest: in so many characters, naming fewer where it has to.
    :returns: a clause that begins with a small letter or a name and ends without a full stop.
    """
    values = {**parameters(identity, now), "most": MOST_NAMED}
    who, site = identity.authoritative_identifier, f"site {identity.site}" if identity.site else "its chargers"
    is_there, own = _rows(_OWN, values)[0]
    if not is_there:
        return f"{who} is not connected, and asks for its place when it is"
    if own is not None and own != why:
        return f"{who} is away for {_words(own)} already"
    holders = _rows(_HOLDERS, values)
    if holders:
        named = [_holder(*holder) for *holder, _ in holders]
        return _listed(f"{site} can spare no other while away are", named, holders[0][-1], longest)
    missing = _rows(_MISSING, values) if identity.site else []
    if missing:
        named = [f"{name} (last seen {seen:%Y-%m-%d %H:%M} UTC)" for name, seen, _ in missing]
        return _listed(f"{who} is the last of {site} that is connected; missing are", named, missing[0][-1], longest)
    return f"{site} can spare no other now"


def _holder(name: str, kind: str, since: datetime, is_there: bool) -> str:
    there = "" if is_there else ", not connected"
    return f"{name} (for {_words(kind)}, since {since:%Y-%m-%d %H:%M} UTC{there})"


def _words(kind: str) -> str:
    work = kind.partition(":")[0]
    return _works.get(work, work)


def _listed(begin: str, named: list[str], number: int, longest: int) -> str:
    """As many of the names as there is room for, and how many there are beside them."""
    for shown in range(len(named), 0, -1):
        more = f" and {number - shown} more" if number > shown else ""
        sentence = f"{begin} {', '.join(named[:shown])}{more}"
        if len(sentence) <= longest:
            return sentence
    return f"{begin} {number}"[:longest]


def _rows(statement: LiteralString, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found
