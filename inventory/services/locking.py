"""Row locks in one order everywhere: identity, then job, then record. Two changes of one identity never interleave."""

from inventory.models import CertificateJob, CertificateRecord, ManagedIdentity


def lock_identity(identity_id: int) -> ManagedIdentity:
    """The identity, locked until the end of the transaction."""
    return ManagedIdentity.objects.select_for_update(of=("self",)).select_related("family").get(pk=identity_id)


def lock_job_of(identity: ManagedIdentity, job_id: int) -> CertificateJob:
    """A job of an identity that the caller has locked, locked until the end of the transaction."""
    job = CertificateJob.objects.select_for_update().get(pk=job_id)
    job.identity = identity
    return job


def lock_record(record_id: int) -> CertificateRecord:
    """The record, locked until the end of the transaction, after its identity."""
    identity_id = CertificateRecord.objects.values_list("identity_id", flat=True).get(pk=record_id)
    identity = lock_identity(identity_id)
    record = CertificateRecord.objects.select_for_update(of=("self",)).get(pk=record_id)
    record.identity = identity
    return record
