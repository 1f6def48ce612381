"""What goes into the artifact store and when it leaves it: the inventory's side of the store.

The store is outside of the database's transactions. So a row is written once the content is safe, under a name made of
what the content is of; a crash in between costs another upload of the same bytes under the same name, never a row
without content.
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from bfcerts.artifacts import ArtifactError, ArtifactStore, Stored, TooLargeError, store_of
from bfcerts.rows import rows
from inventory.actors import Actor
from inventory.audit import add_all, attributed
from inventory.choices import ArtifactKind, EventType, SecurityCategory, SecuritySource, Severity
from inventory.errors import InventoryError, TransitionRefusedError
from inventory.jobs import setbacks
from inventory.jobs.periodic import duty
from inventory.models import Artifact, CertificateRecord, EventCursor, ManagedIdentity, Setback
from inventory.services.security_events import record_security_event

logger = logging.getLogger(__name__)

KEEPER = Actor.system("artifacts")
BATCH = 200
LARGEST_TEXT = 1024 * 1024
CHAINS = "chains"


class ArtifactUnavailableError(InventoryError):
    """The artifact store does not give what it keeps."""

    code = "artifact_unavailable"
    status = 503


def store() -> ArtifactStore:
    """The artifact store of this installation."""
    return store_of(settings.CONFIGURATION)


def keep(
    *,
    kind: ArtifactKind,
    origin: str,
    name: str,
    chunks: Iterable[bytes],
    largest: int,
    content_type: str,
    now: datetime,
    identity: ManagedIdentity | None = None,
    retain_for: timedelta | None = None,
) -> Artifact:
    """Keep content and write its row; what was kept of the same origin is what is returned.

    Must be called outside of a transaction that could be rolled back for other reasons, and attributed.

    :raises ArtifactError: when the store refuses or fails.
    """
    known = Artifact.objects.filter(origin=origin).first()
    if known is not None:
        return known
    stored: Stored = store().put(name, chunks, largest=largest)
    artifact, _ = Artifact.objects.get_or_create(
        origin=origin,
        defaults={
            "kind": kind,
            "name": name,
            "identity": identity,
            "sha256": stored.sha256,
            "size": stored.size,
            "content_type": content_type,
            "created_at": now,
            "retain_until": now + retain_for if retain_for else None,
        },
    )
    return artifact


def read(*, artifact: Artifact, actor: Actor, now: datetime | None = None) -> Iterator[bytes]:
    """The content, for who may have it, checked against its digest; that somebody took it is a security event.

    :raises InventoryError: when it was deleted, was changed in the store, or the store does not answer.
    """
    actor.require("download_artifact")
    now = now or timezone.now()
    if artifact.deleted_at is not None:
        raise TransitionRefusedError(
            f"{artifact} was deleted on {artifact.deleted_at:%Y-%m-%d %H:%M} UTC, at the end of its retention."
        )
    try:
        digest = hashlib.sha256()
        for chunk in store().read(artifact.name):
            digest.update(chunk)
    except ArtifactError as error:
        raise ArtifactUnavailableError(f"{artifact} cannot be read now: {error} Try again later.") from None
    if digest.hexdigest() != artifact.sha256:
        _report_changed(artifact, digest.hexdigest(), now)
        raise ArtifactUnavailableError(
            f"{artifact} is not what was kept: its digest differs. Find out who can write to the artifact store."
        )
    record_security_event(
        "ArtifactDownloaded",
        category=SecurityCategory.SECURITY_LOG,
        severity=Severity.INFO,
        source=SecuritySource.OPERATOR,
        message=f"{actor.name} downloaded {artifact.name} ({artifact.size} bytes).",
        now=now,
        identity=artifact.identity,
        payload={"artifact": artifact.pk, "sha256": artifact.sha256},
    )
    return store().read(artifact.name)


def _report_changed(artifact: Artifact, found: str, now: datetime) -> None:
    record_security_event(
        "ArtifactChanged",
        category=SecurityCategory.SECURITY_LOG,
        severity=Severity.CRITICAL,
        source=SecuritySource.CONTROL_PLANE,
        message=f"{artifact.name} was changed in the artifact store after it was kept.",
        now=now,
        identity=artifact.identity,
        payload={"artifact": artifact.pk, "sha256": artifact.sha256, "found": found},
        dedupe_key=f"artifact-changed:{artifact.pk}:{found}",
    )


# Only what every transaction that could still write before it has ended: nothing is passed over by a late commit.
_ISSUED = """
SELECT id, transaction, record_id FROM inventory_domainevent
WHERE type = %(type)s AND record_id IS NOT NULL AND (transaction, id) > (%(transaction)s, %(id)s)
  AND transaction < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
ORDER BY transaction, id LIMIT %(batch)s
"""


@duty("chains", timedelta(seconds=2))
def keep_issued_chains(now: datetime) -> int:
    """Keep the chains of certificates that were issued since the last time, from the event log on.

    One that the store does not take while it takes others is set aside and tried again. Where it takes none, it is the
    store that fails: nothing is passed over then.

    One batch at a time, so that the worker's other work never waits for long.

    :returns: how many were read from the log.
    """
    _keep_set_aside(now)
    batch = _issued_after(EventCursor.position("chains"))
    if not batch:
        return 0
    last, last_transaction, _ = batch[-1]
    issued = rows(CertificateRecord, "id = ANY(%s) AND chain_pem <> ''", [record_id for _, _, record_id in batch])
    kept, refused = _chains_of(issued, now)
    if refused and not kept and not any(isinstance(error, TooLargeError) for _, error in refused):
        raise refused[0][1]
    for record, error in refused:
        setbacks.set_aside(CHAINS, record.pk, error, now, record.identity_id)
    with attributed(KEEPER, "Keep the issued chain"), transaction.atomic():
        add_all(kept)
        EventCursor.advance("chains", last_transaction, last)
    return len(batch)


def _chains_of(
    records: Iterable[CertificateRecord], now: datetime
) -> tuple[list[Artifact], list[tuple[CertificateRecord, ArtifactError]]]:
    """Store the chains that are not kept yet.

    :returns: their rows, which are still to be written; and what the store did not take, with why.
    """
    origins = {f"chain:{record.pk}:{record.fingerprint}": record for record in records}
    known = set(Artifact.objects.filter(origin__in=list(origins)).values_list("origin", flat=True))
    kept, refused = list[Artifact](), list[tuple[CertificateRecord, ArtifactError]]()
    for origin, record in origins.items():
        if origin in known:
            continue
        try:
            kept.append(_chain_of(record, origin, now))
        except ArtifactError as error:
            refused.append((record, error))
    return kept, refused


def _keep_set_aside(now: datetime) -> None:
    """Try again what was set aside, each by itself."""
    due = Setback.objects.filter(work=CHAINS, until__lte=now).order_by("until")
    for record_id, identity_id in list(due.values_list("key", "identity_id")[:BATCH]):
        setbacks.apart(CHAINS, record_id, now, partial(_keep_one, record_id, now), identity_id=identity_id)


def _keep_one(record_id: int, now: datetime) -> None:
    kept, refused = _chains_of(rows(CertificateRecord, "id = %s", record_id), now)
    if refused:
        raise refused[0][1]
    with attributed(KEEPER, "Keep the issued chain"), transaction.atomic():
        add_all(kept)
        Setback.objects.filter(work=CHAINS, key=record_id).delete()


def _chain_of(record: CertificateRecord, origin: str, now: datetime) -> Artifact:
    name = f"chains/{record.purpose.replace('_', '-')}/{record.pk}.pem"
    stored = store().put(name, [record.chain_pem.encode()], largest=LARGEST_TEXT)
    return Artifact(
        kind=ArtifactKind.CHAIN,
        origin=origin,
        name=name,
        identity_id=record.identity_id,
        sha256=stored.sha256,
        size=stored.size,
        content_type="application/pem-certificate-chain",
        created_at=now,
    )


def _issued_after(position: tuple[int, int]) -> list[tuple[int, int, int]]:
    with connection.cursor() as cursor:
        values: dict[str, str | int] = {
            "type": EventType.CERTIFICATE_ISSUED.value,
            "transaction": position[0],
            "id": position[1],
            "batch": BATCH,
        }
        cursor.execute(_ISSUED, values)
        return list(cursor.fetchall())


@duty("artifacts", timedelta(hours=1))
def delete_past_retention(now: datetime) -> int:
    """Delete from the store what was kept long enough; the row stays and says when.

    :returns: how many were deleted.
    """
    count = 0
    while True:
        due = Artifact.objects.filter(deleted_at__isnull=True, retain_until__lte=now).order_by("retain_until")
        batch = list(setbacks.without(due, "artifacts", now)[:BATCH])
        for artifact in batch:
            count += setbacks.apart("artifacts", artifact.pk, now, partial(_delete, artifact, now)) or False
        if len(batch) < BATCH:
            return count


def _delete(artifact: Artifact, now: datetime) -> bool:
    store().delete(artifact.name)
    with attributed(KEEPER, "Kept long enough"), transaction.atomic():
        artifact.deleted_at = now
        artifact.save()
    return True
