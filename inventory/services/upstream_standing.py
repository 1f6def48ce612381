"""Where one charger is relayed to now, and how that connection stands."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.db.models import IntegerField, Sum
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast

from bfcerts.ocpp.models import StationSession
from bfcerts.ocpp.registry import UpstreamState
from inventory.choices import SubjectKind
from inventory.models import ManagedIdentity, SecurityEvent
from inventory.services.upstreams import CALL_REFUSED, UpstreamCandidate, explain


class RouteState(StrEnum):
    """How a charger's route stands."""

    NOT_RELAYED = "not_relayed"
    """No upstream applies, or one without an address: the charger is answered here alone."""
    NOT_CONNECTED = "not_connected"
    """The charger is not connected, so nothing is relayed."""
    CONNECTING = "connecting"
    CONNECTED = "connected"
    AWAY = "away"


class RouteScope(StrEnum):
    """Whom the upstream that applies is for."""

    NONE = "none"
    ALL = "all"
    COHORT = "cohort"
    OWN = "own"


@dataclass(frozen=True, slots=True)
class UpstreamStanding:
    """The route of one charger. `since` and `detail` say since when it is so, and why the upstream is away."""

    route: UpstreamCandidate | None
    scope: RouteScope
    address: str
    state: RouteState
    since: datetime | None
    detail: str
    refused_calls: int


def standing(identity: ManagedIdentity, session: StationSession | None) -> UpstreamStanding:
    """
    :param session: the charger's open session; None while it is not connected.
    """
    candidates = explain(identity) if identity.kind == SubjectKind.CHARGER else []
    route = next((one for one in candidates if one.won), None)
    address = route.upstream.url if route is not None else ""
    state, since, detail = _state(route, session)
    return UpstreamStanding(route, _scope(route), address, state, since, detail, refused_calls(identity))


def refused_calls(identity: ManagedIdentity) -> int:
    """How many calls of upstreams to this charger were refused, as far as events are kept."""
    counted = Cast(KeyTextTransform("count", "payload"), IntegerField())
    found = SecurityEvent.objects.filter(identity=identity, type=CALL_REFUSED).aggregate(calls=Sum(counted))
    return int(found["calls"] or 0)


def _scope(route: UpstreamCandidate | None) -> RouteScope:
    if route is None:
        return RouteScope.NONE
    if route.upstream.identity_id is not None:
        return RouteScope.OWN
    return RouteScope.COHORT if route.upstream.cohort_id is not None else RouteScope.ALL


def _state(route: UpstreamCandidate | None, session: StationSession | None) -> tuple[RouteState, datetime | None, str]:
    if route is None or not route.upstream.url:
        return RouteState.NOT_RELAYED, None, ""
    if session is None:
        return RouteState.NOT_CONNECTED, None, ""
    if session.upstream != route.upstream.name or session.upstream_state == UpstreamState.NONE:
        return RouteState.CONNECTING, None, ""
    return RouteState(session.upstream_state), session.upstream_since, session.upstream_detail
