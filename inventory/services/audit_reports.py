"""Which audit report each CA was asked for last: one row a CA, written by whichever PKI worker asks."""

from datetime import datetime

from inventory.models import AuditReport


class StoredReportBook:
    """The `ReportBook` of the CA adapters, in the database: several workers and restarts share one report."""

    def last(self, authority: str) -> tuple[datetime, str] | None:
        return AuditReport.objects.filter(authority=authority).values_list("requested_at", "report_id").first()

    def claim(self, authority: str, *, now: datetime, free_since: datetime) -> bool:
        _, created = AuditReport.objects.get_or_create(authority=authority, defaults={"requested_at": now})
        if created:
            return True
        free = AuditReport.objects.filter(authority=authority, requested_at__lte=free_since)
        return bool(free.update(requested_at=now, report_id=""))

    def note(self, authority: str, *, claimed_at: datetime, report_id: str) -> None:
        AuditReport.objects.filter(authority=authority, requested_at=claimed_at).update(report_id=report_id)

    def withdraw(self, authority: str, *, claimed_at: datetime) -> None:
        AuditReport.objects.filter(authority=authority, requested_at=claimed_at).delete()
