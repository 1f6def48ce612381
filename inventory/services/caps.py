"""Caps on planned absences: how many chargers of a site may be away at once, whoever sends them away.

Whoever makes a charger leave (a cut-over, a new key, an anchor's canary, a renewal) takes a place of its site first
and gives it back when the charger is back. The places hold over all rollouts and renewals together, because they are
rows of one table, taken one by one under a lock of the site; the table's trigger keeps the last charger of a site.
Chargers that name no site are capped only where a policy without a site says so: nobody knows which stand together.

A place ends by the clock only for a charger that is there: one that left holds it until it has been seen again, its
work gives it back, or it is `LOST_AFTER`. Beside the places, one charger that is connected has to stay, unless all
others of the site are lost.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, LiteralString

from django.db import IntegrityError, connection, transaction
from django.db.models import Count, QuerySet

from bfcerts.ocpp.outbox import ANSWER_GRACE
from bfcerts.purge import purge
from bfcerts.rows import insert
from inventory import seams
from inventory.choices import JobAction, JobState, SubjectKind
from inventory.jobs.periodic import duty
from inventory.models import CertificateJob, ManagedIdentity, PlannedAbsence, SitePolicy
from inventory.purposes import purpose
from inventory.services import absences

logger = logging.getLogger(__name__)

KEPT = timedelta(days=7)
"""How long ended absences stay, for whoever asks why something waited."""


TAKEN_AT_THE_LAST_MOMENT: Final = 2 * ANSWER_GRACE
"""How much longer a place lasts than the command for which it was taken: the charger leaves after it took that."""


@dataclass(frozen=True, slots=True)
class _Situation:
    """How the site of a charger that wants to leave stands, under its lock."""

    policy: SitePolicy | None
    is_there: bool
    present: PlannedAbsence | None
    """The place that it has."""
    away: int
    over: list[int]
    """Places, also of its own, that count no more."""
    one_stays: bool
    """Another charger that is there and may not leave; or all others are lost."""


def take(identity: ManagedIdentity, why: str, until: datetime, now: datetime) -> bool:
    """Take a place for a charger that is about to leave; the identity must be locked, and its site is from here on.

    Taken again by the same work, it is the same place, until the later end. One that is away for other work is not
    sent away a second time. One that is not connected gets none by waiting: ask when it is there.

    :param why: whose work it is, the same at every call, for example `renewal:4711`.
    :param until: when it is free again by itself if the charger is there then.
    :returns: whether it may leave now; if not, `absences.why_not` says why, and it is asked again later.
    """
    with transaction.atomic(savepoint=False):
        _lock_site(identity.site)
        stands = _situation(identity, now)
        if stands.policy is not None and not stands.is_there:
            return False
        if stands.present is not None:
            if stands.present.kind != why:
                return False
            if stands.present.until < until:
                PlannedAbsence.objects.filter(pk=stands.present.pk).update(until=until)
            return True
        if not _is_free(identity.site, stands):
            return False
        if stands.over:
            PlannedAbsence.objects.filter(pk__in=stands.over).update(ended_at=now)
        insert(PlannedAbsence(identity=identity, site=identity.site, kind=why, started_at=now, until=until))
    return True


def keep(identity: ManagedIdentity, why: str, until: datetime) -> None:
    """A charger that has left is given longer to come back: its place, if it has one, lasts at least until then."""
    held = PlannedAbsence.objects.filter(identity=identity, kind=why, ended_at__isnull=True)
    held.filter(until__lt=until).update(until=until)


def record_leaving(identity: ManagedIdentity, why: str, until: datetime, now: datetime) -> None:
    """A charger leaves, whether or not it may: its answer came after its place had gone to another one.

    So it has a place again, over the cap, and nobody else of its site is sent away because of it. The identity must be
    locked.
    """
    keep(identity, why, until)
    held = PlannedAbsence.objects.filter(identity=identity, ended_at__isnull=True)
    held.exclude(kind=why).filter(until__lte=now).update(ended_at=now)
    if held.exists():
        return
    try:
        with transaction.atomic():
            insert(PlannedAbsence(identity=identity, site=identity.site, kind=why, started_at=now, until=until))
    except IntegrityError:  # the table's trigger: every other charger of the site is away already, so none can follow
        logger.warning("%s leaves although all others of site %s are away", identity, identity.site)


def give_back(identity: ManagedIdentity, now: datetime, why: str = "") -> bool:
    """The charger is back, or somebody has taken its case in hand: its place is free.

    :param why: give back the place of this work only, and leave one of other work alone.
    :returns: whether there was a place to give back.
    """
    held = PlannedAbsence.objects.filter(identity=identity, ended_at__isnull=True)
    if why:
        held = held.filter(kind=why)
    return bool(held.update(ended_at=now))


def give_back_when_seen(identity: ManagedIdentity, now: datetime, why: str) -> None:
    """The work is over: its place is free, at once if the charger is there, else when it is seen again."""
    with connection.cursor() as cursor:
        cursor.execute(_WHEN_SEEN, {"identity": identity.pk, "why": why, "now": now})


def away(site: str, now: datetime) -> int:
    """How many chargers of a site are away on purpose now, or may leave at any moment."""
    with connection.cursor() as cursor:
        cursor.execute(_AWAY, {"site": site, "now": now, "lost": now - absences.LOST_AFTER})
        (number,) = cursor.fetchone()
    return int(number)


def most_away(site: str) -> int | None:
    """How many chargers of a site may be away at once: its policy, and never all of more than one.

    :returns: None where nothing caps it.
    """
    return most_away_of([site])[site]


def most_away_of(sites: Sequence[str]) -> dict[str, int | None]:
    """The same for many sites, in two queries however many they are."""
    stored = {policy.site: policy for policy in SitePolicy.objects.filter(site__in=sites)}
    fleet = ManagedIdentity.objects.filter(kind=SubjectKind.CHARGER, enabled=True, site__in=sites).order_by()
    there_are = dict(fleet.values_list("site").annotate(Count("pk")))
    return {
        site: _allowed(stored.get(site) or (SitePolicy(site=site) if site else None), there_are.get(site, 0))
        for site in sites
    }


def _allowed(policy: SitePolicy | None, chargers: int) -> int | None:
    if policy is None:
        return None
    allowed = max(1, chargers * policy.away_percent // 100)
    if policy.away_most is not None:
        allowed = min(allowed, policy.away_most)
    return min(allowed, chargers - 1) if chargers > 1 else allowed


def _is_free(site: str, stands: _Situation) -> bool:
    """Whether one more may be away, at a cost that grows with what is away and not with the fleet."""
    policy = stands.policy
    if policy is None:
        return True
    wanted = stands.away + 1
    if not stands.one_stays or (policy.away_most is not None and wanted > policy.away_most):
        return False
    if wanted == 1:
        return True
    # Enough chargers that this many are within the share, and that one stays.
    needed = max(-(-wanted * 100 // policy.away_percent), wanted + 1)
    return len(_chargers(site).values_list("pk", flat=True)[:needed]) >= needed


def _chargers(site: str) -> QuerySet[ManagedIdentity]:
    return ManagedIdentity.objects.filter(kind=SubjectKind.CHARGER, enabled=True, site=site).order_by()


def _lock_site(site: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('inventory.site:' || %s, 0))", [site])


def _situation(identity: ManagedIdentity, now: datetime) -> _Situation:
    with connection.cursor() as cursor:
        cursor.execute(_SITUATION, absences.parameters(identity, now))
        percent, most, is_there, own, kind, until, counts, away_now, over, one_stays = cursor.fetchone()
    policy = None
    if percent is not None:
        policy = SitePolicy(site=identity.site, away_percent=percent, away_most=most)
    elif identity.site:
        policy = SitePolicy(site=identity.site)
    over = list(over or [])
    present = None
    if counts:
        present = PlannedAbsence(pk=own, identity_id=identity.pk, kind=kind, until=until)
    elif own is not None:
        over.append(own)
    return _Situation(policy, is_there, present, away_now, over, one_stays)


_OPEN: Final[LiteralString] = f"""
    SELECT a.id, {absences.COUNTS} AS counts
    FROM inventory_plannedabsence a JOIN inventory_managedidentity i ON i.id = a.identity_id
    WHERE a.site = %(site)s AND a.ended_at IS NULL"""  # noqa: S608  # literals of our own
_AWAY: Final[LiteralString] = f"SELECT count(*) FROM ({_OPEN}) AS held WHERE counts"  # noqa: S608  # as above
# One that is there and has a place may leave at any moment, so it does not stay; yet its site counts on it.
_ONE_STAYS: Final[LiteralString] = f"""CASE WHEN %(site)s = '' THEN true WHEN EXISTS (
        SELECT 1 FROM {absences.OTHERS} AND {absences.IS_THERE}
        AND (SELECT true FROM inventory_plannedabsence a
            WHERE a.identity_id = i.id AND a.ended_at IS NULL AND a.until > %(now)s LIMIT 1) IS NOT TRUE
    ) THEN true ELSE NOT EXISTS (
        SELECT 1 FROM {absences.OTHERS} AND ({absences.IS_THERE} OR {absences.LAST_SEEN} > %(lost)s)
    ) END"""  # noqa: S608  # as above
_SITUATION: Final[LiteralString] = f"""
SELECT p.away_percent, p.away_most, {absences.IS_THERE}, own.id, own.kind, own.until, own.counts,
    others.away, others.over, {_ONE_STAYS}
FROM inventory_managedidentity i
LEFT JOIN inventory_sitepolicy p ON p.site = %(site)s
LEFT JOIN LATERAL (
    SELECT a.id, a.kind, a.until, {absences.COUNTS} AS counts FROM inventory_plannedabsence a
    WHERE a.identity_id = i.id AND a.ended_at IS NULL
) own ON true
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE counts) AS away, array_agg(held.id) FILTER (WHERE NOT counts) AS over
    FROM ({_OPEN} AND a.identity_id <> %(identity)s AND (%(site)s <> '' OR p.id IS NOT NULL)) AS held
) others
WHERE i.id = %(identity)s
"""  # noqa: S608  # as above
_WHEN_SEEN: Final[LiteralString] = f"""
UPDATE inventory_plannedabsence a SET ended_at = CASE WHEN {absences.IS_THERE} THEN %(now)s END,
    until = least(a.until, greatest(%(now)s, a.started_at + interval '1 microsecond'))
FROM inventory_managedidentity i
WHERE i.id = a.identity_id AND a.identity_id = %(identity)s AND a.kind = %(why)s AND a.ended_at IS NULL
"""  # noqa: S608  # as above


# -- the work of certificates ------------------------------------------------------------------------------------------


def take_for_renewal(job: CertificateJob, until: datetime, now: datetime) -> bool:
    """Take a place for a charger that will reconnect with its renewed certificate; it is given back with the job's end.

    :returns: whether the certificate may be delivered now.
    """
    return not _is_renewal(job) or take(job.identity, f"renewal:{job.pk}", until, now)


def why_no_renewal(job: CertificateJob, now: datetime) -> str:
    """Why it got none, as long as a job has room for it."""
    return absences.why_not(job.identity, f"renewal:{job.pk}", now, longest=180)


def give_back_renewal(job: CertificateJob, now: datetime) -> None:
    """The certificate was not sent, so its charger did not leave."""
    give_back(job.identity, now, f"renewal:{job.pk}")


def leaves_for_renewal(job: CertificateJob, until: datetime, now: datetime) -> None:
    """The charger has its renewed certificate, and leaves from now on: its place lasts as long as it has to return."""
    if _is_renewal(job):
        record_leaving(job.identity, f"renewal:{job.pk}", until, now)


def place_of_cut_over(job: CertificateJob) -> str:
    """Whose place a cut-over has: that of the work that asked for it, else one of its own."""
    return str(job.parameters.get("place") or f"cut_over:{job.pk}")


def _is_renewal(job: CertificateJob) -> bool:
    return job.action == JobAction.RENEW


def _took_a_place(job: CertificateJob) -> bool:
    """Only what is delivered to a charger sends one away; our own server certificates end in the gateway's process."""
    if job.action == JobAction.CUT_OVER:
        return "place" not in job.parameters
    return _is_renewal(job) and purpose(job.purpose).delivered_over_ocpp


def _job_ended(job: CertificateJob, now: datetime) -> None:
    why = f"renewal:{job.pk}" if _is_renewal(job) else place_of_cut_over(job)
    if job.state == JobState.SUCCEEDED:
        give_back(job.identity, now, why)
    else:
        give_back_when_seen(job.identity, now, why)


def connect() -> None:
    """Called once, when the app is ready."""
    seams.on_job_ended("caps", _job_ended, concerns=_took_a_place)


@duty("absences", timedelta(hours=1))
def forget(now: datetime) -> int:
    """Drop absences that ended a while ago, and end those that count no more, of chargers that are lost or were seen.

    :returns: how many were dropped.
    """
    PlannedAbsence.objects.filter(ended_at__isnull=True, until__lte=now - absences.LOST_AFTER).update(ended_at=now)
    return purge("inventory_plannedabsence", "ended_at < %s", now - KEPT, order="ended_at")
