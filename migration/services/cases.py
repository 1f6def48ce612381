"""The one place where a migration case moves: transition, event and what it says of itself, together.

The caller holds the identity's lock and has opened an attribution.
"""

from collections.abc import Collection, Mapping, Sequence, Set
from datetime import datetime
from typing import Any

from bfcerts.ocpp.canonical import Evidence
from bfcerts.ocpp.models import InboxMessage, OutboxCommand
from bfcerts.ocpp.redaction import redact
from bfcerts.rows import rows, update_all
from inventory.audit import current_attribution
from inventory.choices import EventType, SecurityCategory, SecuritySource, Severity
from inventory.models import CertificateRecord, ManagedIdentity
from inventory.services.events import Happening, record_event, record_happenings
from inventory.services.security_events import record_security_event
from inventory.words import actor_words
from migration.models import MigrationCase, Wave
from migration.states import CaseState, ReasonCode, Stage

FRAMES = 10
FRAME_KINDS = (Evidence.COMMAND_ANSWERED, Evidence.CONNECTED, Evidence.CONNECTION_REFUSED, Evidence.BOOTED)
LONGEST_FRAME = 600
S = CaseState


def live_case(identity_id: int, *, lock: bool = False) -> MigrationCase | None:
    """The case that says how a charger's migration stands."""
    found = MigrationCase.objects.live().filter(identity_id=identity_id)
    return (found.select_for_update(of=("self",)) if lock else found).first()


def lock_live_cases(identity_ids: Collection[int], states: Collection[str]) -> dict[int, MigrationCase]:
    """Of identities that the caller has locked, the live cases in these states, by identity; locked like them."""
    found = rows(
        MigrationCase,
        "identity_id = ANY(%s) AND state = ANY(%s) ORDER BY id",
        list(identity_ids),
        [str(state) for state in states],
        lock=True,
    )
    return {case.identity_id: case for case in found}


def lock_case(identity: ManagedIdentity, case_id: int) -> MigrationCase:
    """A case of an identity that the caller has locked, locked until the end of the transaction."""
    case = MigrationCase.objects.select_for_update(of=("self",)).get(pk=case_id)
    case.identity = identity
    return case


def lock_cases(identities: Mapping[int, ManagedIdentity], case_ids: Collection[int]) -> list[MigrationCase]:
    """Cases of identities that the caller has locked, with wave, rollout and family; locked like them."""
    found = MigrationCase.objects.select_for_update(of=("self",)).select_related("wave__rollout", "family")
    locked = list(found.filter(pk__in=case_ids).order_by("pk"))
    for case in locked:
        case.identity = identities[case.identity_id]
    return locked


def open_case(
    identity: ManagedIdentity,
    *,
    wave: Wave | None,
    code: ReasonCode,
    why: str,
    tries: int,
    now: datetime,
) -> MigrationCase:
    """Open the case of a charger that has none."""
    case = MigrationCase(
        identity=identity,
        wave=wave,
        family_id=identity.family_id,
        site=identity.site,
        reason_code=code,
        why=why,
        tries_left=tries,
        next_look_at=now,
        entered_state_at=now,
        opened_at=now,
    )
    case.save()
    _tell(case, "", now)
    return case


def say(case: MigrationCase, code: ReasonCode, why: str, *, look_again_at: datetime) -> None:
    """Say why a case does not go on, without moving it."""
    case.reason_code, case.why, case.next_look_at = code, why, look_again_at
    case.save(update_fields=["reason_code", "why", "next_look_at"])


def installing(case: MigrationCase, now: datetime, *, stage: Stage, deadline: datetime | None) -> None:
    """pending → installing."""
    _moved(case, _install(case, now, stage, deadline), now)


def issuing_each(
    starting: Sequence[MigrationCase], now: datetime, *, deadline: datetime, correlation_ids: Mapping[int, str]
) -> None:
    """pending → installing, of several whose certificates are being issued, by the same statements.

    :param correlation_ids: of the chain of work of each, by its identity's key.
    """
    former = {case.pk: _install(case, now, Stage.ISSUING, deadline) for case in starting}
    _moved_each(starting, former, now, correlation_ids)


def _install(case: MigrationCase, now: datetime, stage: Stage, deadline: datetime | None) -> str:
    former = str(case.state)
    case.install()
    case.stage, case.deadline, case.next_look_at = stage, deadline, now
    case.reason_code = ReasonCode.ISSUING
    case.why = f"{_who(case)} gets its certificate: it is being issued and installed."
    return former


def ready(case: MigrationCase, record: CertificateRecord, now: datetime) -> None:
    """Its certificate is installed; what it waits for from now on is ours, so no deadline of its own runs."""
    case.record, case.stage, case.deadline, case.next_look_at = record, Stage.READY, None, now
    case.reason_code = ReasonCode.TURN
    case.why = f"{_who(case)} has its certificate installed; the cut-over is next."
    case.save(update_fields=["record", "stage", "deadline", "next_look_at", "reason_code", "why"])


def cutting_over(case: MigrationCase, now: datetime, *, deadline: datetime) -> None:
    """installing → pending_activation: anchors confirmed, leaf accepted; the cut-over is sent."""
    _moved(case, _cut_over(case, deadline), now)


def cutting_over_each(
    deadlines: Mapping[MigrationCase, datetime], now: datetime, *, correlation_ids: Mapping[int, str]
) -> None:
    """As `cutting_over`, of several, each with its own deadline, by the same statements; see `issuing_each`."""
    former = {case.pk: _cut_over(case, deadline) for case, deadline in deadlines.items()}
    _moved_each(list(deadlines), former, now, correlation_ids)


def _cut_over(case: MigrationCase, deadline: datetime) -> str:
    former = str(case.state)
    case.cut_over()
    case.stage, case.deadline = Stage.CUTTING_OVER, deadline
    case.reason_code = ReasonCode.CUTTING_OVER
    case.why = f"{_who(case)} was told to come back on Profile 3 and has until {deadline:%Y-%m-%d %H:%M} UTC."
    return former


def active(case: MigrationCase, record: CertificateRecord, now: datetime) -> None:
    """pending_activation → active: a mutual-TLS connection with exactly the new certificate."""
    former = case.state
    case.activate()
    case.record, case.stage, case.deadline, case.failed_at = record, Stage.DONE, None, None
    case.reason_code, case.why, case.last_failure, case.last_frames = ReasonCode.NONE, "", "", []
    _moved(case, former, now)


def rolling_back(
    case: MigrationCase,
    code: ReasonCode,
    why: str,
    now: datetime,
    *,
    deadline: datetime,
    stage: Stage = Stage.RETURNING,
    failed: bool = True,
) -> None:
    """installing, pending_activation or active → rollback.

    :param failed: it counts as failed at once, unless somebody wanted it back.
    """
    former = case.state
    case.roll_back()
    case.stage, case.deadline = stage, deadline
    case.reason_code, case.why, case.last_failure = code, why, why
    if failed:
        case.failed_at = now
    case.last_frames = last_frames(case.identity)
    _moved(case, former, now)


def back(case: MigrationCase, now: datetime, *, look_again_at: datetime) -> None:
    """rollback → pending: it has a way in that works, and a try is left."""
    former = case.state
    case.come_back()
    case.tries_left = max(0, case.tries_left - 1)
    case.stage, case.deadline, case.next_look_at = Stage.WAITING, None, look_again_at
    case.record = case.issue_job = case.cut_over_job = None
    case.reason_code, case.why = (
        ReasonCode.RETRYING,
        f"The last try of {_who(case)} failed: {case.last_failure} It is tried again.",
    )
    _moved(case, former, now)


def quarantined(case: MigrationCase, code: ReasonCode, why: str, now: datetime) -> None:
    """→ quarantine: automation stops; certificate and access stay as they are."""
    former, stage = case.state, case.stage
    case.quarantine()
    case.deadline = None
    case.reason_code, case.why = code, why
    case.decided_by = current_attribution().actor.name
    case.last_frames = last_frames(case.identity) or case.last_frames
    _moved(case, former, now)
    identity = case.identity
    record_event(
        EventType.MIGRATION_QUARANTINED,
        now=now,
        identity=identity,
        payload={"caseId": case.pk, "waveId": case.wave_id, "reasonCode": code, "stage": stage, "why": why},
        resulting_state=case.state,
    )
    record_security_event(
        "MigrationQuarantined",
        category=SecurityCategory.INSTALLATION,
        severity=Severity.WARNING,
        source=SecuritySource.CONTROL_PLANE,
        message=f"{identity.authoritative_identifier} is in quarantine on its way to Profile 3: {why}",
        now=now,
        identity=identity,
        record=case.record,
        station_id=identity.authoritative_identifier[:64],
        payload={"reasonCode": code, "stage": stage},
        correlation_id=current_attribution().correlation_id,
        dedupe_key=f"quarantine:{case.pk}:{now.isoformat()}",
    )


def released(case: MigrationCase, now: datetime, *, tries: int) -> None:
    """quarantine → pending, with a whole retry budget; its failure no longer counts."""
    former = case.state
    case.release()
    case.stage, case.deadline, case.next_look_at, case.failed_at = Stage.WAITING, None, now, None
    case.tries_left, case.decided_by = tries, current_attribution().actor.name
    case.record = case.issue_job = case.cut_over_job = None
    case.reason_code, case.last_failure = ReasonCode.TURN, ""
    case.why = f"{_who(case)} was released and waits for its turn."
    _moved(case, former, now)


def excepted(case: MigrationCase, reason: str, now: datetime) -> None:
    """quarantine → excepted."""
    former = case.state
    case.approve_exception()
    case.stage, case.decided_by = Stage.DONE, current_attribution().actor.name
    case.reason_code, case.why = (
        ReasonCode.EXCEPTED,
        f"An exception was approved by {actor_words(case.decided_by)}: {reason}",
    )
    _moved(case, former, now)


def cancelled(case: MigrationCase, reason: str, now: datetime) -> None:
    """Any but active → cancelled."""
    former = case.state
    case.cancel()
    case.stage, case.deadline, case.decided_by = Stage.DONE, None, current_attribution().actor.name
    case.reason_code, case.why = ReasonCode.CANCELLED, f"Cancelled by {actor_words(case.decided_by)}: {reason}"
    _moved(case, former, now)


def _moved(case: MigrationCase, former: str, now: datetime) -> None:
    case.entered_state_at = now
    case.save()
    _tell(case, former, now)


_ONWARD = (
    "state",
    "stage",
    "deadline",
    "next_look_at",
    "reason_code",
    "why",
    "record_id",
    "issue_job_id",
    "cut_over_job_id",
    "entered_state_at",
)
"""What changes of a case that goes on; state and job together, because the database judges them together."""


def _moved_each(
    moved: Sequence[MigrationCase], former: Mapping[int, str], now: datetime, correlation_ids: Mapping[int, str]
) -> None:
    for case in moved:
        case.entered_state_at = now
    update_all(moved, _ONWARD)
    happenings = [
        Happening(
            case.identity,
            case.state,
            payload=event_payload(case, former[case.pk]),
            correlation_id=correlation_ids[case.identity_id],
        )
        for case in moved
    ]
    record_happenings(EventType.MIGRATION_STATE_CHANGED, happenings, now=now)


def _tell(case: MigrationCase, former: str, now: datetime) -> None:
    record_event(
        EventType.MIGRATION_STATE_CHANGED,
        now=now,
        identity=case.identity,
        payload=event_payload(case, former),
        resulting_state=case.state,
    )


def event_payload(case: MigrationCase, former: str) -> dict[str, Any]:
    """What a MigrationStateChanged event says."""
    return {
        "managedIdentityId": case.identity_id,
        "caseId": case.pk,
        "waveId": case.wave_id,
        "previousState": former,
        "stage": case.stage,
        "reasonCode": case.reason_code,
        "why": case.why,
        "certificateRecordId": case.record_id,
    }


def last_frames(identity: ManagedIdentity) -> list[dict[str, Any]]:
    """What was last said between the charger and us, oldest first, without secrets."""
    station = identity.authoritative_identifier
    asked = OutboxCommand.objects.filter(station_id=station).order_by("-pk")[:FRAMES]
    told = InboxMessage.objects.filter(station_id=station, kind__in=FRAME_KINDS).order_by("-received_at")[:FRAMES]
    frames: list[dict[str, Any]] = [
        {"at": command.created_at, "direction": "to the charger", "what": command.action, "detail": _command(command)}
        for command in asked
    ] + [
        {"at": message.received_at, "direction": "from the charger", "what": message.kind, "detail": _detail(message)}
        for message in told
    ]
    newest = sorted(frames, key=lambda frame: frame["at"])[-FRAMES:]
    return [{**frame, "at": frame["at"].isoformat()} for frame in newest]


def _command(command: OutboxCommand) -> str:
    parts: Sequence[str] = (command.state, command.outcome, command.error_code, command.error_description)
    return ": ".join(part for part in parts if part)[:LONGEST_FRAME]


def _detail(message: InboxMessage) -> str:
    payload = redact(message.payload)
    told = (
        "action",
        "outcome",
        "status",
        "status_info",
        "error_code",
        "error_description",
        "profile",
        "reason",
        "detail",
    )
    return ", ".join(f"{name} {payload[name]}" for name in told if payload.get(name))[:LONGEST_FRAME]


def absence_of(case: MigrationCase) -> str:
    """Under which name a case takes its place among the chargers of its site that may be away."""
    return f"migration:{case.pk}"


def open_references(references: Set[str]) -> Set[str]:
    """Of what follows the kind in references of commands, those whose case goes on: the retention keeps them.

    A charger in quarantine may be released, and is then asked again under the same keys.
    """
    ids = {reference: reference.partition(":")[0] for reference in references}
    identifiers = [int(case) for case in ids.values() if case.isdigit()]
    still_open = set(
        MigrationCase.objects.live().filter(pk__in=identifiers).exclude(state=S.ACTIVE).values_list("pk", flat=True)
    )
    return {reference for reference, case in ids.items() if case.isdigit() and int(case) in still_open}


def _who(case: MigrationCase) -> str:
    return case.identity.authoritative_identifier
