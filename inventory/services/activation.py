"""Connections as evidence: a certificate is active only when we have seen it in use (FR-006).

Evidence is taken at the handshake, because stations do not send a BootNotification after they reconnect with another
certificate, and may be back before the answer to CertificateSigned is (conformance 10 to 12).
"""

from datetime import datetime

from django.db import transaction

from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import EvidenceKind, JobAction, RecordState, SecurityCategory, SecuritySource, Severity
from inventory.jobs import engine
from inventory.models import CertificateJob, CertificateRecord, ManagedIdentity
from inventory.services import transitions
from inventory.services.lifecycle import finish_jobs_of
from inventory.services.locking import lock_record
from inventory.services.security_events import record_security_event


def connected_with_certificate(fingerprint: str, *, session: str, address: str, now: datetime) -> None:
    """A station proved at the TLS handshake that it holds this certificate's key."""
    record_id = CertificateRecord.objects.filter(fingerprint=fingerprint).values_list("pk", flat=True).first()
    if record_id is None:
        return
    with (
        attributed(Actor.system("gateway"), "Mutual-TLS connection with this certificate"),
        transaction.atomic(),
    ):
        record = lock_record(record_id)
        job = (
            CertificateJob.objects.open()
            .filter(record=record, action__in=[JobAction.ISSUE, JobAction.RENEW, JobAction.INSTALL])
            .first()
        )
        correlation_id = job.correlation_id if job else ""
        with attributed(Actor.system("gateway"), "Mutual-TLS connection with this certificate", correlation_id):
            _take_evidence(record, job, session, address, now)


def _take_evidence(
    record: CertificateRecord, job: CertificateJob | None, session: str, address: str, now: datetime
) -> None:
    if not transitions.is_fresh(record, now):
        return
    if record.state == RecordState.RETIRED:
        # Evidence may be handled after a sweep has retired what was in use when it was seen: that is no fallback.
        if record.retired_at is None or now < record.retired_at or record.rollback_until is None:
            return
        _fallback(record, session, address, now)
        return
    if record.state == RecordState.ACTIVE:
        transitions.reach_profile_3(record, now=now)
        finish_cut_overs(record.identity, now)
        return
    if record.state not in (RecordState.ISSUED, RecordState.INSTALLED_PENDING_ACTIVATION):
        return
    evidence = transitions.observe(
        record,
        EvidenceKind.MTLS_CONNECTION,
        now=now,
        source=f"gateway session {session}",
        dedupe_key=f"connection:{session}",
        detail={"session": session, "address": address},
        correlation_id=job.correlation_id if job else "",
    )
    if record.state == RecordState.ISSUED:
        transitions.installation_recorded(record, evidence, now=now, job=job)
    transitions.activated(record, evidence, now=now, job=job)
    finish_jobs_of(record, f"Certificate {record.pk} is active: the station connected with it.", now)
    finish_cut_overs(record.identity, now)


def _fallback(record: CertificateRecord, session: str, address: str, now: datetime) -> None:
    transitions.observe(
        record,
        EvidenceKind.FALLBACK_CONNECTION,
        now=now,
        source=f"gateway session {session}",
        dedupe_key=f"connection:{session}",
        detail={"session": session, "address": address},
    )
    record_security_event(
        "FallbackToRetiredCertificate",
        category=SecurityCategory.TLS_AND_CERTIFICATE,
        severity=Severity.WARNING,
        source=SecuritySource.TLS_ENDPOINT,
        message=(
            f"{record.identity.authoritative_identifier} came back with its retired certificate {record.pk}, which "
            f"opens the door until {record.rollback_until:%Y-%m-%d %H:%M} UTC. See why it does not use the new one."
        ),
        now=now,
        record=record,
        session_id=session,
        station_id=record.identity.authoritative_identifier[:64],
        address=address,
        dedupe_key=f"fallback:{session}",
    )


def finish_cut_overs(identity: ManagedIdentity, now: datetime) -> None:
    """A cut-over has reached its end when the charger is on Profile 3."""
    open_jobs = CertificateJob.objects.open().select_for_update(of=("self",)).filter(identity=identity)
    for job in open_jobs.filter(action=JobAction.CUT_OVER):
        engine.advance(job, engine.Succeed("The charger is connected on Profile 3."), now)
