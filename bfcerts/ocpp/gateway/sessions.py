"""Session rows: one for each connection, at most one open for each station, across all gateway nodes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db import IntegrityError, connection, transaction

from bfcerts.ocpp import inbox
from bfcerts.ocpp.canonical import Evidence, RefusalReason
from bfcerts.ocpp.gateway.commands import release
from bfcerts.ocpp.models import StationSession
from bfcerts.ocpp.notify import Channel, notify
from bfcerts.ocpp.registry import (
    Admission,
    ConnectionAttempt,
    Refusal,
    Stay,
    Upstream,
    certificate_door,
    password_door,
    upstreams,
)
from bfcerts.ocpp.relay.standing import Standing

REPLACED: Final = "replaced by a newer connection"
TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class Arrival:
    """A connection attempt at the door, with the id that its session will have."""

    attempt: ConnectionAttempt
    session_id: UUID


@dataclass(frozen=True, slots=True)
class Opened:
    """The station is in: its session row is committed, and so is the evidence."""

    admission: Admission
    commands_wait: bool
    upstream: Upstream | None = None


@dataclass(frozen=True, slots=True)
class Departure:
    """A connection that ended. `evidence`: its end is news to the lifecycle."""

    session_id: UUID
    station_id: str
    reason: str
    code: int
    now: datetime
    evidence: bool = False


def admit(arrivals: list[Arrival], node: str) -> list[Opened | Refusal]:
    """Ask the doors, and open a session for each station that may come in, in one transaction.

    A station's earlier session is closed by it, wherever it is: the node that holds it is notified. Two nodes that
    admit the same station at the same moment meet in the unique constraint; the later one tries again and wins.
    """
    for _ in range(TRIES - 1):
        try:
            return _admit(arrivals, node)
        except IntegrityError:
            continue
    return _admit(arrivals, node)


@transaction.atomic
def _admit(arrivals: list[Arrival], node: str) -> list[Opened | Refusal]:
    decisions = decide([arrival.attempt for arrival in arrivals])
    admitted = [
        (arrival, decision)
        for arrival, decision in zip(arrivals, decisions, strict=True)
        if isinstance(decision, Admission)
    ]
    waiting: set[str] = set()
    for turn in _once_each(admitted):
        waiting |= _open(turn, node)
    relayed = upstreams_of([arrival.attempt.station_id for arrival, _ in admitted])
    return [
        Opened(decision, station_id in waiting, relayed[station_id]) if isinstance(decision, Admission) else decision
        for station_id, decision in zip((arrival.attempt.station_id for arrival in arrivals), decisions, strict=True)
    ]


def upstreams_of(station_ids: Sequence[str]) -> dict[str, Upstream | None]:
    """Where these stations are relayed to."""
    source = upstreams()
    wanted = list(dict.fromkeys(station_ids))
    return dict(zip(wanted, source.of(wanted) if source and wanted else [None] * len(wanted), strict=True))


def decide(attempts: Sequence[ConnectionAttempt]) -> list[Admission | Refusal]:
    """What the doors say: where there is a certificate it alone decides, else the password."""
    with_certificate = [attempt for attempt in attempts if attempt.certificate is not None]
    with_password = [attempt for attempt in attempts if attempt.certificate is None]
    by_certificate = iter(certificate_door().decide(with_certificate) if with_certificate else [])
    by_password = iter(password_door().decide(with_password) if with_password else [])
    return [next(by_password if attempt.certificate is None else by_certificate) for attempt in attempts]


@dataclass(frozen=True, slots=True)
class Present:
    """A live session: how it asked for its admission, now, and what it was given."""

    attempt: ConnectionAttempt
    options: Mapping[str, Any]
    renewal_only: bool = False


def review(present: Sequence[Present]) -> list[Refusal | None]:
    """Ask the doors again about live sessions: for each, in order, why it may not stay, or None."""
    certified = [one for one in present if one.attempt.certificate is not None]
    others = [
        Stay(one.attempt.station_id, one.options, one.attempt.now) for one in present if not one.attempt.certificate
    ]
    decisions = certificate_door().decide([one.attempt for one in certified]) if certified else []
    by_certificate = iter([_may_stay(one, decision) for one, decision in zip(certified, decisions, strict=True)])
    by_password = iter(password_door().review(others) if others else [])
    return [next(by_password if one.attempt.certificate is None else by_certificate) for one in present]


def _may_stay(one: Present, decision: Admission | Refusal) -> Refusal | None:
    if isinstance(decision, Refusal):
        return decision
    if decision.renewal_only_until is not None and not one.renewal_only:
        detail = "The certificate has expired since it connected; it may come in again only to renew it."
        return Refusal(RefusalReason.CERTIFICATE_EXPIRED, detail)
    return None


def _once_each(admitted: list[tuple[Arrival, Admission]]) -> list[list[tuple[Arrival, Admission]]]:
    """Turns in which each station comes once, in its own order."""
    seen: Counter[str] = Counter()
    turns: list[list[tuple[Arrival, Admission]]] = []
    for arrival, admission in admitted:
        turn = seen[arrival.attempt.station_id]
        seen[arrival.attempt.station_id] += 1
        if turn == len(turns):
            turns.append([])
        turns[turn].append((arrival, admission))
    return turns


def _open(admitted: list[tuple[Arrival, Admission]], node: str) -> set[str]:
    """
    :returns: the stations that have commands waiting.
    """
    # In order of station everywhere, so that two nodes never wait for each other in a circle.
    admitted = sorted(admitted, key=lambda pair: pair[0].attempt.station_id)
    identifiers = [arrival.session_id for arrival, _ in admitted]
    now = admitted[-1][0].attempt.now
    known = _known([arrival.attempt.station_id for arrival, _ in admitted], identifiers, now)
    _replace([one.open_session for one in known.values() if one.open_session is not None], now)
    _insert(admitted, node)
    inbox.store(
        [
            _connected(arrival, admission)
            for arrival, admission in admitted
            if admission.evidence_wanted
            or known[arrival.attempt.station_id].credential != (admission.security_profile, _fingerprint(arrival))
        ]
    )
    return {station_id for station_id, one in known.items() if one.commands_wait or one.open_session is not None}


@dataclass(frozen=True, slots=True)
class _Known:
    """What is stored of a station: the credential of its last session, its open session, its waiting commands."""

    credential: tuple[int, str] | None
    open_session: UUID | None
    commands_wait: bool


def _known(stations: list[str], arriving: list[UUID], now: datetime) -> dict[str, _Known]:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT station.id, last.security_profile, last.certificate_fingerprint, earlier.id, EXISTS (
                SELECT 1 FROM ocpp_outboxcommand
                WHERE station_id = station.id AND state = 'queued'
                  AND not_before <= %(now)s AND deadline > %(now)s
            )
            FROM unnest(%(stations)s::text[]) AS station(id)
            LEFT JOIN LATERAL (
                SELECT security_profile, certificate_fingerprint FROM ocpp_stationsession
                WHERE station_id = station.id AND id <> ALL(%(arriving)s)
                ORDER BY connected_at DESC LIMIT 1
            ) AS last ON true
            LEFT JOIN ocpp_stationsession AS earlier
                ON earlier.station_id = station.id AND earlier.closed_at IS NULL
               AND earlier.id <> ALL(%(arriving)s)
            """,
            {"stations": stations, "arriving": arriving, "now": now},
        )
        return {
            station_id: _Known((profile, fingerprint) if profile is not None else None, earlier, commands_wait)
            for station_id, profile, fingerprint, earlier, commands_wait in cursor.fetchall()
        }


def _replace(session_ids: list[UUID], now: datetime) -> None:
    if not session_ids:
        return
    earlier = StationSession.objects.select_for_update().filter(pk__in=session_ids, closed_at__isnull=True)
    replaced = list(earlier.order_by("station_id").values_list("pk", flat=True))
    StationSession.objects.filter(pk__in=replaced).update(closed_at=now, close_reason=REPLACED)
    release(replaced, now)
    for session_id in replaced:
        notify(Channel.SESSION_CLOSE, f"{session_id} {REPLACED}")


def _insert(admitted: list[tuple[Arrival, Admission]], node: str) -> None:
    """One statement for all; the same rows again, when it is unknown whether the first try was committed."""
    rows = [
        (
            arrival.session_id,
            arrival.attempt.station_id,
            arrival.attempt.listener,
            arrival.attempt.protocol,
            admission.security_profile,
            _fingerprint(arrival),
            arrival.attempt.address,
            arrival.attempt.now,
            admission.renewal_only_until is not None,
        )
        for arrival, admission in admitted
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO ocpp_stationsession
                (id, station_id, node, listener, protocol, security_profile, certificate_fingerprint, address,
                 connected_at, renewal_only, close_reason)
            SELECT id, station_id, %s, listener, protocol, security_profile, fingerprint, address::inet,
                   connected_at, renewal_only, ''
            FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::int[], %s::text[], %s::text[],
                        %s::timestamptz[], %s::boolean[])
                AS arrival(id, station_id, listener, protocol, security_profile, fingerprint, address, connected_at,
                           renewal_only)
            ON CONFLICT (id) DO UPDATE SET closed_at = NULL, close_reason = ''
            """,
            [node, *(list(column) for column in zip(*rows, strict=True))],
        )


def _fingerprint(arrival: Arrival) -> str:
    certificate = arrival.attempt.certificate
    return certificate.fingerprint if certificate is not None else ""


def _connected(arrival: Arrival, admission: Admission) -> inbox.Observation:
    attempt = arrival.attempt
    return inbox.Observation(
        station_id=attempt.station_id,
        session_id=arrival.session_id,
        kind=Evidence.CONNECTED,
        payload={
            "fingerprint": _fingerprint(arrival),
            "profile": admission.security_profile,
            "address": attempt.address,
            "protocol": attempt.protocol,
            "listener": attempt.listener,
            "evidence_wanted": admission.evidence_wanted,
            "authorization_key": admission.options.get("authorization_key"),
            "renewal_only": admission.renewal_only_until is not None,
        },
        received_at=attempt.now,
        message_id="handshake",
    )


@transaction.atomic
def close(departures: list[Departure]) -> list[None]:
    """Close the rows of connections that ended, and put back what was sent on them.

    A row that is closed already, because a newer connection replaced it, stays as it is.
    """
    by_id = {departure.session_id: departure for departure in departures}
    rows = (
        StationSession.objects.select_for_update().filter(pk__in=by_id, closed_at__isnull=True).order_by("station_id")
    )
    closed = list(rows.values_list("pk", flat=True))
    by_reason: dict[str, list[UUID]] = {}
    for session_id in closed:
        by_reason.setdefault(by_id[session_id].reason, []).append(session_id)
    now = departures[-1].now
    for reason, session_ids in by_reason.items():
        StationSession.objects.filter(pk__in=session_ids).update(closed_at=now, close_reason=reason[:200])
    if closed:
        release(closed, now)
    inbox.store([_disconnected(by_id[session_id]) for session_id in closed if by_id[session_id].evidence])
    return [None] * len(departures)


def _disconnected(departure: Departure) -> inbox.Observation:
    return inbox.Observation(
        station_id=departure.station_id,
        session_id=departure.session_id,
        kind=Evidence.DISCONNECTED,
        payload={"reason": departure.reason, "code": departure.code},
        received_at=departure.now,
        message_id="end",
    )


def record_upstreams(standings: Sequence[Standing]) -> None:
    """Say on the rows of live sessions how their upstreams stand, in one statement."""
    columns = zip(
        *((one.session_id, one.upstream, one.state.value, one.since, one.detail) for one in standings), strict=True
    )
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE ocpp_stationsession AS session
            SET upstream = told.upstream, upstream_state = told.state,
                upstream_since = told.since, upstream_detail = told.detail
            FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::timestamptz[], %s::text[])
                AS told(id, upstream, state, since, detail)
            WHERE session.id = told.id AND session.closed_at IS NULL
            """,
            [list(column) for column in columns],
        )


def no_longer_open(session_ids: Sequence[UUID]) -> set[UUID]:
    """Which of these sessions somebody else has closed in the meantime."""
    still_open = StationSession.objects.filter(pk__in=session_ids, closed_at__isnull=True)
    return set(session_ids) - set(still_open.values_list("pk", flat=True))
