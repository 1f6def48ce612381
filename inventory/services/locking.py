"""Row locks in one order everywhere: identity, then job, then record. Two changes of one identity never interleave."""

from collections.abc import Collection

from bfcerts.rows import row_of, rows
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


def lock_identities(identity_ids: Collection[int]) -> dict[int, ManagedIdentity]:
    """Identities by their ids, locked until the end of the transaction.

    They are locked in the order of their ids and before anything else, so that two who take several, or one who takes
    a single one, never wait for each other in a circle.
    """
    identities = rows(ManagedIdentity, "id = ANY(%s) ORDER BY id", list(identity_ids), lock=True)
    family_ids = {identity.family_id for identity in identities if identity.family_id is not None}
    families = {family.pk: family for family in rows(ChargerFamily, "id = ANY(%s)", list(family_ids))}
    for identity in identities:
        if identity.family_id is not None:
            identity.family = families[identity.family_id]
    return {identity.pk: identity for identity in identities}


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


def lock_records(record_ids: Collection[int]) -> list[CertificateRecord]:
    """Records in the order of their ids, locked until the end of the transaction, after all of their identities."""
    owners = CertificateRecord.objects.filter(pk__in=record_ids).order_by().values_list("identity_id", flat=True)
    identities = lock_identities(set(owners))
    records = rows(CertificateRecord, "id = ANY(%s) ORDER BY id", list(record_ids), lock=True)
    for record in records:
        record.identity = identities[record.identity_id]
    return records
