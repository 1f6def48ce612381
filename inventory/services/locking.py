"""Row locks in one order everywhere: identity, then job, then record. Two changes of one identity never interleave."""

from bfcerts.rows import row_of
from inventory.models import CertificateJob, CertificateRecord, ChargerFamily, ManagedIdentity


def lock_identity(identity_id: int) -> ManagedIdentity:
    """The identity, locked until the end of the transaction."""
    return _with_family(row_of(ManagedIdentity, identity_id, lock=True))


def read_identity(identity_id: int) -> ManagedIdentity:
    """The identity as it is now, for those who change nothing."""
    return _with_family(row_of(ManagedIdentity, identity_id))


def _with_family(identity: ManagedIdentity) -> ManagedIdentity:
    if identity.family_id is not None:
        identity.family = row_of(ChargerFamily, identity.family_id)
    return identity


def lock_job_of(identity: ManagedIdentity, job_id: int) -> CertificateJob:
    """A job of an identity that the caller has locked, locked until the end of the transaction."""
    job = row_of(CertificateJob, job_id, lock=True)
    job.identity = identity
    return job


def lock_record_of(identity: ManagedIdentity, record_id: int) -> CertificateRecord:
    """A record of an identity that the caller has locked, locked until the end of the transaction."""
    record = row_of(CertificateRecord, record_id, lock=True)
    record.identity = identity
    return record


def lock_record(record_id: int) -> CertificateRecord:
    """The record, locked until the end of the transaction, after its identity."""
    identity = lock_identity(row_of(CertificateRecord, record_id).identity_id)
    return lock_record_of(identity, record_id)
