"""Which charger is relayed to which CSMS: the narrowest upstream wins, and says why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bfcerts.ocpp import registry
from bfcerts.ocpp.registry import WhenAway
from inventory.choices import CohortKind, SecurityCategory, SecuritySource, Severity, SubjectKind
from inventory.models import Cohort, ManagedIdentity, Upstream
from inventory.models.cohort import containing
from inventory.services.security_events import record_security_event

CALL_REFUSED: Final = "UpstreamCallRefused"
"""The security event of an upstream's call that touched what is managed here."""

_SAYINGS: Final = {
    "call_refused": (
        CALL_REFUSED,
        Severity.WARNING,
        "asked {station} for what is managed here, and was refused",
    ),
    "away": ("UpstreamAway", Severity.WARNING, "is away for {station}"),
    "misbehaved": ("UpstreamMisbehaved", Severity.WARNING, "broke OCPP towards {station}"),
    "boot_not_accepted": ("UpstreamRefusedBoot", Severity.WARNING, "did not take {station} back"),
}


@dataclass(frozen=True, slots=True)
class UpstreamCandidate:
    """One enabled upstream, with why it applies to a charger or not."""

    upstream: Upstream
    matches: bool
    why: str
    won: bool = False


def explain(identity: ManagedIdentity) -> list[UpstreamCandidate]:
    """The enabled upstreams, best first; the first is marked as won where one applies."""
    found = list(Upstream.objects.filter(enabled=True).select_related("cohort", "identity"))
    cohorts = containing(identity, [one.cohort for one in found if one.cohort is not None])
    judged = sorted(
        (_judge(one, identity, cohorts) for one in found),
        key=lambda candidate: (not candidate.matches, _breadth(candidate.upstream), candidate.upstream.pk),
    )
    return [
        UpstreamCandidate(one.upstream, one.matches, one.why, won=place == 0 and one.matches)
        for place, one in enumerate(judged)
    ]


def _judge(upstream: Upstream, identity: ManagedIdentity, cohorts: set[int]) -> UpstreamCandidate:
    if upstream.identity is not None:
        matches = upstream.identity_id == identity.pk
        label = f"charger {upstream.identity.authoritative_identifier}"
    elif upstream.cohort is not None:
        matches, label = upstream.cohort_id in cohorts, f"cohort {upstream.cohort.name}"
    else:
        return UpstreamCandidate(upstream, True, "applies to every charger")
    return UpstreamCandidate(upstream, matches, f"applies by {label}" if matches else f"does not apply: not {label}")


def _breadth(upstream: Upstream) -> int:
    if upstream.identity_id is not None:
        return 0
    return 1 if upstream.cohort_id is not None else 2


class Upstreams:
    """What the gateway asks: the upstreams of many stations at once, in a few queries."""

    def of(self, station_ids: Sequence[str]) -> list[registry.Upstream | None]:
        enabled = sorted(
            Upstream.objects.filter(enabled=True).select_related("cohort"), key=lambda one: (_breadth(one), one.pk)
        )
        if not enabled:
            return [None] * len(station_ids)
        keys: dict[str, int] = {}
        if any(one.cohort_id or one.identity_id for one in enabled):
            chargers = ManagedIdentity.objects.filter(
                kind=SubjectKind.CHARGER, authoritative_identifier__in=station_ids
            )
            keys = dict(chargers.values_list("authoritative_identifier", "pk"))
        scopes = [(one, _scope(one, list(keys.values()))) for one in enabled]
        return [_first(scopes, keys.get(station_id)) for station_id in station_ids]


def _scope(upstream: Upstream, keys: list[int]) -> set[int] | None:
    """Those of these identities that an upstream is for; None for all."""
    if upstream.identity_id is not None:
        return {upstream.identity_id}
    if upstream.cohort is None:
        return None
    if upstream.cohort.kind == CohortKind.FILTER:
        return set(upstream.cohort.identities().filter(pk__in=keys).values_list("pk", flat=True))
    memberships = Cohort.members.through.objects.filter(cohort_id=upstream.cohort.pk, managedidentity_id__in=keys)
    return set(memberships.values_list("managedidentity_id", flat=True))


def _first(scopes: list[tuple[Upstream, set[int] | None]], key: int | None) -> registry.Upstream | None:
    for upstream, scope in scopes:
        if scope is None or key in scope:
            return _said(upstream)
    return None


def _said(upstream: Upstream) -> registry.Upstream | None:
    if not upstream.url:
        return None
    return registry.Upstream(
        name=upstream.name,
        url=upstream.url,
        ca_bundle=upstream.ca_bundle,
        credential=upstream.credential,
        when_away=WhenAway(upstream.when_away),
    )


def happened(identity: ManagedIdentity | None, entry: registry.InboxEntry) -> None:
    """What an upstream did, as a security event that names it."""
    payload = entry.payload
    kind, severity, saying = _SAYINGS[str(payload["kind"])]
    count = int(payload.get("count", 1))
    times = f" ({count} times more)" if entry.session_id == "" else ""
    record_security_event(
        kind,
        category=SecurityCategory.OTHER,
        severity=severity,
        source=SecuritySource.CONTROL_PLANE,
        message=f"The upstream {payload['upstream']} {saying.format(station=entry.station_id)}: "
        f"{payload['detail']}{times}.",
        now=entry.received_at,
        identity=identity,
        session_id=entry.session_id or None,
        station_id=entry.station_id,
        payload={"upstream": payload["upstream"], "count": count},
        dedupe_key=f"inbox:{entry.id}",
    )


def connect() -> None:
    """Called once, when the app is ready."""
    registry.register_upstreams(Upstreams())
