"""Caps on planned absences: how many chargers of a site may be away at once, whoever sends them away.

Whoever makes a charger leave (a cut-over, a new key, an anchor's canary, a renewal) takes a place of its site first
and gives it back when the charger is back. The places hold over all rollouts and renewals together, because they are
rows of one table, taken one by one under a lock of the site; the table's trigger keeps the last charger of a site.
Chargers that name no site are capped only where a policy without a site says so: nobody knows which stand together.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Count, QuerySet

from bfcerts.purge import purge
from bfcerts.rows import insert, row
from inventory import seams
from inventory.choices import JobAction, SubjectKind
from inventory.jobs.periodic import duty
from inventory.models import CertificateJob, ManagedIdentity, PlannedAbsence, SitePolicy
from inventory.purposes import purpose

KEPT = timedelta(days=7)
"""How long ended absences stay, for whoever asks why something waited."""


def take(identity: ManagedIdentity, why: str, until: datetime, now: datetime) -> bool:
    """Take a place for a charger that is about to leave; the identity must be locked, and its site is from here on.

    Taken again by the same work, it is the same place, until the later end. One that is away for other work is not
    sent away a second time.

    :param why: whose work it is, the same at every call, for example `renewal:4711`.
    :param until: when the place is free again by itself, should nobody give it back.
    :returns: whether it may leave now; if not, ask again later.
    """
    with transaction.atomic(savepoint=False):
        _lock_site(identity.site)
        _end_overdue(identity, now)
        present = row(PlannedAbsence, "identity_id = %s AND ended_at IS NULL", identity.pk)
        if present is not None:
            if present.kind != why:
                return False
            if present.until < until:
                PlannedAbsence.objects.filter(pk=present.pk).update(until=until)
            return True
        if not _is_free(identity.site, now):
            return False
        insert(PlannedAbsence(identity=identity, site=identity.site, kind=why, started_at=now, until=until))
    return True


def give_back(identity: ManagedIdentity, now: datetime, why: str = "") -> bool:
    """The charger is back, or its work is over: its place is free.

    :param why: give back the place of this work only, and leave one of other work alone.
    :returns: whether there was a place to give back.
    """
    absences = PlannedAbsence.objects.filter(identity=identity, ended_at__isnull=True)
    if why:
        absences = absences.filter(kind=why)
    return bool(absences.update(ended_at=now))


def away(site: str, now: datetime) -> int:
    """How many chargers of a site are away on purpose now."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM inventory_plannedabsence WHERE site = %s AND ended_at IS NULL AND until > %s",
            [site, now],
        )
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


def _is_free(site: str, now: datetime) -> bool:
    """As `away(site) < most_away(site)`, at a cost that grows with what is away and not with the fleet."""
    policy = _policy(site)
    if policy is None:
        return True
    wanted = away(site, now) + 1
    if policy.away_most is not None and wanted > policy.away_most:
        return False
    if wanted == 1:
        return True
    # Enough chargers that this many are within the share, and that one stays.
    needed = max(-(-wanted * 100 // policy.away_percent), wanted + 1)
    return len(_chargers(site).values_list("pk", flat=True)[:needed]) >= needed


def _chargers(site: str) -> QuerySet[ManagedIdentity]:
    return ManagedIdentity.objects.filter(kind=SubjectKind.CHARGER, enabled=True, site=site).order_by()


def _policy(site: str) -> SitePolicy | None:
    stored = row(SitePolicy, "site = %s", site)
    return stored or (SitePolicy(site=site) if site else None)


def _lock_site(site: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('inventory.site:' || %s, 0))", [site])


def _end_overdue(identity: ManagedIdentity, now: datetime) -> None:
    """What its own time has ended already, at this site or, for one that moved, of this charger."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE inventory_plannedabsence SET ended_at = %(now)s "
            "WHERE ended_at IS NULL AND until <= %(now)s AND (site = %(site)s OR identity_id = %(identity)s)",
            {"now": now, "site": identity.site, "identity": identity.pk},
        )


def take_for_renewal(job: CertificateJob, until: datetime, now: datetime) -> bool:
    """Take a place for a charger that will reconnect with its renewed certificate; it is given back with the job's end.

    :returns: whether the certificate may be delivered now.
    """
    return not _is_renewal(job) or take(job.identity, f"renewal:{job.pk}", until, now)


def _is_renewal(job: CertificateJob) -> bool:
    return job.action == JobAction.RENEW


def _took_a_place(job: CertificateJob) -> bool:
    """Only what is delivered to a charger sends one away; our own server certificates end in the gateway's process."""
    return _is_renewal(job) and purpose(job.purpose).delivered_over_ocpp


def _renewal_ended(job: CertificateJob, now: datetime) -> None:
    give_back(job.identity, now, f"renewal:{job.pk}")


def connect() -> None:
    """Called once, when the app is ready."""
    seams.on_job_ended("caps", _renewal_ended, concerns=_took_a_place)


@duty("absences", timedelta(hours=1))
def forget(now: datetime) -> int:
    """Drop absences that ended a while ago.

    :returns: how many.
    """
    return purge("inventory_plannedabsence", "ended_at < %s", now - KEPT, order="ended_at")
