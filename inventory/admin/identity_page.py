"""What the page of an identity shows, read in a number of queries that does not grow."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString

from bfcerts.console.presentation import NOTHING, Badge, short, span
from bfcerts.ocpp.models import OutboxCommand, StationSession
from inventory.admin import states, timeline
from inventory.admin.panels import identity_panels
from inventory.choices import JOB_OPEN_STATES, RecordState, SubjectKind
from inventory.models import CertificateJob, CertificateRecord, DomainEvent, ManagedIdentity, SecurityEvent, Upstream
from inventory.services import lockouts
from inventory.services.upstream_standing import RouteState, standing
from inventory.services.upstreams import CALL_REFUSED

RECORDS, JOBS, ENDED_JOBS, PARTS, MOMENTS = 50, 20, 5, 30, 40

_ROUTE_BADGES = {
    RouteState.NOT_RELAYED: Badge("Not relayed"),
    RouteState.NOT_CONNECTED: Badge("The charger is not connected"),
    RouteState.CONNECTING: Badge("Connecting", "info"),
    RouteState.CONNECTED: Badge("Connected", "success"),
    RouteState.AWAY: Badge("Away", "danger"),
}
_PROFILE_TONES = {0: "danger", 1: "danger", 2: "info", 3: "success"}


@dataclass(frozen=True, slots=True)
class RecordRow:
    """One certificate as the page shows it."""

    record: CertificateRecord
    badge: Badge
    validity: SafeString | str
    in_session: bool


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job as the page shows it."""

    job: CertificateJob
    badge: Badge
    words: str


def profile_badge(identity: ManagedIdentity, *, locked_out: bool) -> Badge | None:
    """The security profile that a charger has reached; no green tick on one that cannot connect any more."""
    if identity.kind != SubjectKind.CHARGER:
        return None
    profile = identity.security_profile
    return Badge(f"Profile {profile}", "default" if locked_out else _PROFILE_TONES[profile])


def described(identity: ManagedIdentity, now: datetime) -> list[tuple[str, str]]:
    """Whom an action will concern."""
    pairs = [
        ("Identity", f"{identity.authoritative_identifier} ({identity.get_kind_display()})"),
        ("Name", identity.name),
        ("Site", ", ".join(part for part in (identity.site, identity.region) if part)),
        ("Owner", identity.owner),
    ]
    if identity.kind == SubjectKind.CHARGER:
        session = StationSession.objects.filter(
            station_id=identity.authoritative_identifier, closed_at__isnull=True
        ).first()
        words = (
            f"connected on Profile {session.security_profile} for {span(now - session.connected_at)}"
            if session
            else "not connected"
        )
        pairs.append(("Now", words))
    return [(name, value) for name, value in pairs if value]


def context_of(identity: ManagedIdentity, request: HttpRequest, now: datetime) -> dict[str, Any]:
    """Everything the page's template needs, and nothing this person may not see."""
    may = request.user.has_perm
    station = identity.authoritative_identifier if identity.kind == SubjectKind.CHARGER else ""
    sessions = _sessions(station) if may("ocpp.view_stationsession") else []
    session = next((item for item in sessions if item.closed_at is None), None)
    records = _records(identity) if may("inventory.view_certificaterecord") else []
    jobs = _jobs(identity) if may("inventory.view_certificatejob") else []
    fingerprint = session.certificate_fingerprint if session else ""
    locked_out = may("inventory.view_certificaterecord") and identity.enabled and lockouts.is_locked_out(identity, now)
    return {
        "identity": identity,
        "now": now,
        "is_charger": bool(station),
        "profile_badge": profile_badge(identity, locked_out=locked_out),
        "locked_out_badge": states.LOCKED_OUT_BADGE if locked_out else None,
        "profile_words": states.PROFILE_WORDS[identity.security_profile],
        "facts": _facts(identity),
        "session": session,
        "last_session": sessions[0] if sessions else None,
        "session_certificate": short(fingerprint),
        "upstream": _upstream(identity, session, request),
        "session_record": next((item for item in records if item.fingerprint == fingerprint), None)
        if fingerprint
        else None,
        "records": [_record_row(record, fingerprint, now) for record in records],
        "open_jobs": [_job_row(job, now) for job in jobs if job.is_open],
        "ended_jobs": [_job_row(job, now) for job in jobs if not job.is_open][:ENDED_JOBS],
        "timeline": _timeline(identity, station, sessions, request),
        "panels": identity_panels(identity, request, now),
        "all_links": _all_links(identity, station),
    }


def _sessions(station: str) -> list[StationSession]:
    if not station:
        return []
    return list(StationSession.objects.filter(station_id=station).order_by("-connected_at")[:10])


def _upstream(identity: ManagedIdentity, session: StationSession | None, request: HttpRequest) -> dict[str, Any] | None:
    """Where a charger is relayed to, once there is an upstream; how that stands is said to who may see sessions."""
    may = request.user.has_perm
    if identity.kind != SubjectKind.CHARGER or not may("inventory.view_upstream"):
        return None
    if not Upstream.objects.filter(enabled=True).exists():
        return None
    found = standing(identity, session)
    events = reverse("admin:inventory_securityevent_changelist")
    return {
        "standing": found,
        "badge": _ROUTE_BADGES[found.state] if may("ocpp.view_stationsession") else None,
        "refused_link": f"{events}?identity__id__exact={identity.pk}&type__exact={CALL_REFUSED}",
    }


def _records(identity: ManagedIdentity) -> list[CertificateRecord]:
    """The living ones first, then what is over, newest first."""
    records = (
        CertificateRecord.objects.filter(identity=identity)
        .exclude(state=RecordState.DELETED)
        .defer("certificate_pem", "chain_pem", "csr_pem")
        .order_by("-id")[:RECORDS]
    )
    over = (RecordState.RETIRED, RecordState.REVOKED)
    return sorted(records, key=lambda record: (record.state in over, record.state != RecordState.ACTIVE, -record.pk))


def _jobs(identity: ManagedIdentity) -> list[CertificateJob]:
    """All open ones, and the newest of the ended ones."""
    jobs = CertificateJob.objects.filter(identity=identity).order_by("-id")
    newest = list(jobs[:JOBS])
    shown = {job.pk for job in newest}
    older_open = jobs.filter(state__in=JOB_OPEN_STATES).exclude(pk__in=shown)[:JOBS]
    return [*newest, *older_open]


def _record_row(record: CertificateRecord, fingerprint: str, now: datetime) -> RecordRow:
    return RecordRow(
        record=record,
        badge=states.record_badge(record.state),
        validity=states.validity(record, now),
        in_session=bool(fingerprint) and record.fingerprint == fingerprint,
    )


def _job_row(job: CertificateJob, now: datetime) -> JobRow:
    return JobRow(job=job, badge=states.job_badge(job), words=states.waiting_words(job, now))


def _timeline(
    identity: ManagedIdentity, station: str, sessions: list[StationSession], request: HttpRequest
) -> list[timeline.Moment]:
    may = request.user.has_perm
    parts = [timeline.of_sessions(sessions)]
    if may("inventory.view_domainevent"):
        events = DomainEvent.objects.filter(identity=identity).order_by("-id")[:PARTS]
        parts.append(timeline.of_events(events))
    if may("inventory.view_securityevent"):
        security = SecurityEvent.objects.filter(identity=identity).order_by("-id")[:PARTS]
        parts.append(timeline.of_security_events(security))
    if station and may("ocpp.view_outboxcommand"):
        commands = OutboxCommand.objects.filter(station_id=station).order_by("-id")[:PARTS]
        parts.append(timeline.of_commands(commands))
    return timeline.merged(*parts, limit=MOMENTS)


def _facts(identity: ManagedIdentity) -> list[tuple[str, str]]:
    charger = identity.kind == SubjectKind.CHARGER
    facts = [
        ("Kind", identity.get_kind_display()),
        ("Serial number", identity.serial_number if charger else ""),
        ("Family", str(identity.family) if identity.family else ""),
        ("Firmware", identity.firmware_version),
        ("Part of", str(identity.parent) if identity.parent else ""),
        ("Owner", identity.owner),
        ("Site", identity.site),
        ("Region", identity.region),
        ("Program", identity.program),
        ("Tags", ", ".join(identity.tags)),
        ("Operating mode", identity.get_mode_display() if identity.mode else "as its purposes"),
        ("May hold", ", ".join(entry.label for entry in identity.possible_purposes()) or NOTHING),
    ]
    return [(name, value) for name, value in facts if value]


def _all_links(identity: ManagedIdentity, station: str) -> dict[str, str]:
    def listing(route: str, query: str) -> str:
        return f"{reverse(f'admin:{route}_changelist')}?{query}"

    of_identity = f"identity__id__exact={identity.pk}"
    return {
        "records": listing("inventory_certificaterecord", of_identity),
        "jobs": listing("inventory_certificatejob", of_identity),
        "events": listing("inventory_domainevent", of_identity),
        "security": listing("inventory_securityevent", of_identity),
        "sessions": listing("ocpp_stationsession", f"q={station}"),
        "commands": listing("ocpp_outboxcommand", f"q={station}"),
    }
