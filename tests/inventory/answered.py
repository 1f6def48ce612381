"""Jobs that wait for a station's answer, as tests give them."""

from bfcerts.ocpp.models import OutboxCommand
from inventory.models import CertificateJob, ManagedIdentity


def again(job: CertificateJob) -> CertificateJob:
    return CertificateJob.objects.get(pk=job.pk)


def queued(identity: ManagedIdentity) -> list[str]:
    return list(
        OutboxCommand.objects.filter(station_id=identity.authoritative_identifier, state="queued")
        .order_by("id")
        .values_list("action", flat=True)
    )
