"""What the wire and the lifecycle tell of chargers on their way, each in the transaction that stores it."""

from collections.abc import Sequence
from datetime import datetime

from inventory import seams
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import JobAction, JobState, RecordState, SubjectKind
from inventory.models import CertificateJob, CertificateRecord, ManagedIdentity
from inventory.purposes import CHARGER_IDENTITY
from inventory.services import capabilities, caps
from migration.models import MigrationCase
from migration.services import cases, holding, lowering, readiness, returning
from migration.services.readiness import PROFILE_2, PROFILE_3
from migration.states import CaseState, ReasonCode, Stage

MIGRATION = Actor.system("migration")
S = CaseState
GOING_UP = (S.INSTALLING, S.PENDING_ACTIVATION)
ON_THE_WAY = (S.PENDING, S.INSTALLING, S.PENDING_ACTIVATION, S.ROLLBACK)


def is_on_profile_3(identity: ManagedIdentity, record: CertificateRecord) -> bool:
    """Whether a charger was seen on Profile 3 with a certificate that still works."""
    return record.state == RecordState.ACTIVE and identity.security_profile >= PROFILE_3


def arrived(case: MigrationCase, record: CertificateRecord, now: datetime) -> None:
    """A mutual-TLS connection with exactly this certificate was seen: the case is active.

    Where the connection came sooner, or later, than the case expected, it passes the states in between, so that each
    transition is in the table and in the log.
    """
    case.record = record
    if case.state == S.ROLLBACK:
        cases.back(case, now, look_again_at=now)
    if case.state == S.PENDING:
        cases.installing(case, now, stage=Stage.READY, deadline=None)
    if case.state == S.INSTALLING:
        cases.cutting_over(case, now, deadline=now)
    cases.active(case, record, now)
    caps.give_back(case.identity, now, cases.absence_of(case))


def records_moved(records: Sequence[CertificateRecord], now: datetime) -> None:
    """Chargers' certificates were installed, came into use, or ended."""
    of_chargers = [record for record in records if record.purpose == CHARGER_IDENTITY.key]
    if not of_chargers:
        return
    on_the_way = cases.lock_live_cases({record.identity_id for record in of_chargers}, ON_THE_WAY)
    for record in of_chargers:
        case = on_the_way.get(record.identity_id)
        if case is not None and case.state in ON_THE_WAY:
            case.identity = record.identity
            _record_moved(case, record, now)


def _record_moved(case: MigrationCase, record: CertificateRecord, now: datetime) -> None:
    if record.state == RecordState.INSTALLED_PENDING_ACTIVATION:
        _installed(case, record, now)
    elif record.state == RecordState.ACTIVE and case.stage != Stage.LOWERING:
        with attributed(MIGRATION, f"Connected on Profile 3 with certificate {record.pk}"):
            arrived(case, record, now)
    elif record.state == RecordState.REVOKED and record.pk == case.record_id and case.state in GOING_UP:
        why = f"Certificate {record.pk}, which it was to come back with, was revoked."
        with attributed(MIGRATION, why):
            returning.bring_back(case, ReasonCode.CERTIFICATE_LOST, why, now)


def _installed(case: MigrationCase, record: CertificateRecord, now: datetime) -> None:
    if case.state == S.INSTALLING:
        cases.ready(case, record, now)
    elif case.state == S.PENDING_ACTIVATION:
        case.record = record
        case.save(update_fields=["record"])


def connected(connection: seams.Connection) -> None:
    """A charger came in; with an expired certificate, to renew it, is no arrival."""
    if connection.renewal_only:
        return
    identity = connection.identity
    case = cases.live_case(identity.pk, lock=True)
    if case is None or case.state not in ON_THE_WAY:
        return
    case.identity = identity
    if connection.security_profile >= PROFILE_3:
        _on_profile_3(case, connection)
    elif case.state == S.ROLLBACK and connection.security_profile == PROFILE_2:
        with attributed(MIGRATION, "Back on Profile 2"):
            if case.stage == Stage.LOWERING:
                lowering.lowered(case, connection.at)
            elif returning.has_working_key(identity, connection.at):
                returning.came_back(case, connection.at)


def _on_profile_3(case: MigrationCase, connection: seams.Connection) -> None:
    if case.stage == Stage.LOWERING:
        lowering.still_on_profile_3(case, connection.at)
        return
    record = CertificateRecord.objects.filter(
        fingerprint=connection.fingerprint, identity_id=case.identity_id, purpose=CHARGER_IDENTITY.key
    ).first()
    if record is not None and record.state == RecordState.ACTIVE:
        with attributed(MIGRATION, f"Connected on Profile 3 with certificate {record.pk}"):
            arrived(case, record, connection.at)


def concerns(job: CertificateJob) -> bool:
    """Whether a case may wait for this job, and it ended without success."""
    is_mine = job.purpose == CHARGER_IDENTITY.key and job.action in (JobAction.ISSUE, JobAction.CUT_OVER)
    return is_mine and job.state != JobState.SUCCEEDED


def job_ended(job: CertificateJob, now: datetime) -> None:
    """A job that a case waits for ended without success."""
    case = cases.live_case(job.identity_id, lock=True)
    if case is None:
        return
    case.identity = job.identity
    if case.state == S.INSTALLING and case.stage == Stage.ISSUING and case.issue_job_id == job.pk:
        _bring_back(case, ReasonCode.ISSUE_FAILED, job, now)
    elif case.state == S.PENDING_ACTIVATION and case.cut_over_job_id == job.pk:
        _bring_back(case, ReasonCode.CUT_OVER_FAILED, job, now)


def _bring_back(case: MigrationCase, code: ReasonCode, job: CertificateJob, now: datetime) -> None:
    with attributed(MIGRATION, f"Job {job.pk} ended: {job.outcome}"):
        returning.bring_back(case, code, job.outcome or f"Job {job.pk} ended.", now)


def booted(boot: seams.Boot) -> None:
    """A charger of a capable family that has no case yet gets one by default."""
    identity = boot.identity
    if identity.kind != SubjectKind.CHARGER or identity.security_profile >= PROFILE_3 or identity.family is None:
        return
    if MigrationCase.objects.filter(identity=identity).exists():
        return
    if capabilities.missing_for_profile_3(identity.family):
        return
    with attributed(MIGRATION, f"A charger of family {identity.family}, which is capable of Profile 3"):
        failing = readiness.first_failure(readiness.check_one(identity, boot.at))
        code, why = (
            (failing.code, failing.sentence)
            if failing is not None
            else (ReasonCode.NOT_PLANNED, holding.in_no_rollout(identity))
        )
        cases.open_case(identity, wave=None, code=code, why=why, tries=0, now=boot.at)


def connect() -> None:
    """Called once, when the app is ready."""
    seams.on_connection(connected)
    seams.on_boot(booted)
    seams.on_records_moved(records_moved)
    seams.on_job_ended("migration", job_ended, concerns=concerns)
    seams.on_answer("migration", lowering.answered)
