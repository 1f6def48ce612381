"""Plain commands to a station, the cut-over to Profile 3, and the way back of every command's answer."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from bfcerts.ocpp import canonical, outbox
from bfcerts.ocpp.canonical import Action, CommandOutcome, ResetKind
from bfcerts.ocpp.models import OutboxCommand, StationSession
from bfcerts.rows import row
from inventory import seams
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import EventType, JobAction, RecordState, SubjectKind
from inventory.errors import InvalidInputError, TransitionRefusedError
from inventory.jobs import engine
from inventory.jobs.engine import Fail, Proceed, Result, Retry, Wait
from inventory.models import CertificateJob, CertificateRecord, IssuingAuthority, LifecyclePolicy, ManagedIdentity
from inventory.purposes import BACKEND_SERVER, CHARGER_IDENTITY
from inventory.services import absences, caps, delivery, holding, jobs, lockouts, policies
from inventory.services.events import Happening, record_happenings
from inventory.services.locking import lock_identity

COMMAND_LIFETIME = timedelta(hours=1)
RESET_LIFETIME = timedelta(minutes=2)
"""A Reset that was not taken at once is not sent to a station that has come back by itself."""
PROFILE_3 = 3
PROFILE_2_SLOT = 1
PROFILE_3_SLOT = 2


def _check(identity: ManagedIdentity, actor: Actor, reason: str, permission: str) -> None:
    actor.require(permission)
    if not reason.strip():
        raise InvalidInputError("A reason is needed: say why, for the audit trail.")
    if identity.kind != SubjectKind.CHARGER:
        raise TransitionRefusedError(
            f"{identity.authoritative_identifier} is a {identity.get_kind_display().lower()}; only chargers take OCPP "
            "commands."
        )
    if not identity.enabled:
        raise TransitionRefusedError(f"{identity.authoritative_identifier} is disabled; enable it first.")


def _send(
    identity: ManagedIdentity,
    action: Action,
    payload: Mapping[str, Any],
    *,
    actor: Actor,
    reason: str,
    now: datetime | None,
    lifetime: timedelta = COMMAND_LIFETIME,
) -> OutboxCommand:
    _check(identity, actor, reason, "command_managedidentity")
    correlation_id = uuid.uuid4().hex
    with transaction.atomic(), attributed(actor, reason, correlation_id):
        return outbox.enqueue(
            station_id=identity.authoritative_identifier,
            action=action,
            payload=dict(payload),
            dedupe_key=f"command:{correlation_id}",
            now=now or timezone.now(),
            expires_after=lifetime,
            reference=f"actor:{actor.name}"[:80],
            correlation_id=correlation_id,
        )


def request_csr(*, identity: ManagedIdentity, actor: Actor, reason: str, now: datetime | None = None) -> OutboxCommand:
    """Ask a station for a certificate signing request; what it sends joins or opens a job."""
    payload = canonical.request_csr()
    return _send(identity, Action.REQUEST_CSR, payload, actor=actor, reason=reason, now=now)


def list_certificates(
    *, identity: ManagedIdentity, actor: Actor, reason: str, now: datetime | None = None
) -> OutboxCommand:
    """Ask a station what it has installed."""
    payload = canonical.list_certificates()
    return _send(identity, Action.LIST_CERTIFICATES, payload, actor=actor, reason=reason, now=now)


def install_trust_anchors(
    *, identity: ManagedIdentity, actor: Actor, reason: str, now: datetime | None = None
) -> OutboxCommand:
    """Install the roots that a station needs: that of charger identity, then that of our server certificate.

    In this order, because some stations trust only the last root they were given (conformance 3).

    :returns: the last of the commands.
    """
    _check(identity, actor, reason, "command_managedidentity")
    roots = dict(
        IssuingAuthority.objects.filter(
            trust_domain__in=[CHARGER_IDENTITY.trust_domain, BACKEND_SERVER.trust_domain], issues=True
        ).values_list("trust_domain", "root_pem")
    )
    command = None
    with transaction.atomic():
        for trust_domain in (CHARGER_IDENTITY.trust_domain, BACKEND_SERVER.trust_domain):
            if trust_domain in roots:
                payload = canonical.install_certificate(roots[trust_domain], "CSMSRootCertificate")
                command = _send(identity, Action.INSTALL_CERTIFICATE, payload, actor=actor, reason=reason, now=now)
    if command is None:
        raise TransitionRefusedError("No roots are known yet: the PKI worker has not published its authorities.")
    return command


def delete_certificate(
    *,
    identity: ManagedIdentity,
    hash_data: Mapping[str, Any],
    actor: Actor,
    reason: str,
    now: datetime | None = None,
) -> OutboxCommand:
    """Delete an installed certificate by the very hash data that the station reported (OCPP 2.0.1 M04.FR.07)."""
    payload = canonical.delete_certificate(dict(hash_data))
    return _send(identity, Action.DELETE_CERTIFICATE, payload, actor=actor, reason=reason, now=now)


def reset(
    *,
    identity: ManagedIdentity,
    kind: str = "OnIdle",
    actor: Actor,
    reason: str,
    now: datetime | None = None,
) -> OutboxCommand:
    """Restart a station, when idle or immediately."""
    if kind not in ("OnIdle", "Immediate"):
        raise InvalidInputError(f"{kind!r} is no kind of reset; use OnIdle or Immediate.")
    payload = canonical.reset(kind)
    return _send(identity, Action.RESET, payload, actor=actor, reason=reason, now=now, lifetime=RESET_LIFETIME)


# -- cut-over --------------------------------------------------------------------------------------------------------


def cut_over(
    *,
    identity: ManagedIdentity,
    actor: Actor,
    reason: str,
    override_forecast: bool = False,
    place: str = "",
    now: datetime | None = None,
) -> CertificateJob:
    """Move one station to Profile 3: network profile, its priority, security profile, reset, and the connection that
    proves it.

    The steps are the same for every station. Its protocol version sends those that it has a message for (OCPP 2.0.1 A05
    and B09/B10, OCPP 1.6 whitepaper A05) and takes the others as done.

    :param override_forecast: also where the forecast says that it could not come back, which needs a permission of its
        own; the event and the job's history keep the evidence, who did it and why.
    :param place: whose place of its site the charger leaves with (`inventory.services.caps`), if not the job's own.
    :raises TransitionRefusedError: when the station has no certificate to come back with.
    :raises HeldBackError: while a gate is closed for this charger.
    :raises InventoryError: when it could not come back, and that is not overridden.
    """
    _check(identity, actor, reason, "cutover_managedidentity")
    now = now or timezone.now()
    with transaction.atomic(), attributed(actor, reason):
        locked = lock_identity(identity.pk)
        # One that was let in below its profile for a time has to be brought back up.
        if lockouts.depends_on_certificate(locked, now):
            raise TransitionRefusedError(f"{locked.authoritative_identifier} is on Profile 3 already.")
        usable = CertificateRecord.objects.of(locked.pk, CHARGER_IDENTITY.key).usable_at(now)
        if not usable.filter(state__in=[RecordState.ACTIVE, RecordState.INSTALLED_PENDING_ACTIVATION]).exists():
            raise TransitionRefusedError(
                f"{locked.authoritative_identifier} has no installed certificate to come back with on Profile 3; "
                "issue one first."
            )
        holding.check_cut_over(locked, now)
        against = holding.check_forecast(locked, actor=actor, override=override_forecast, reason=reason, now=now)
        return begin_cut_overs([locked], against={locked.pk: against}, places={locked.pk: place}, now=now)[locked.pk]


def begin_cut_overs(
    identities: Sequence[ManagedIdentity],
    *,
    against: Mapping[int, str],
    places: Mapping[int, str],
    correlation_ids: Mapping[int, str] = jobs.EMPTY,
    now: datetime,
) -> dict[int, CertificateJob]:
    """Open the jobs of cut-overs that were judged under the locks of their identities, which the caller still holds.

    All of it is by the identity's key, and takes the same statements however many they are.

    :param against: the evidence that one could not come back, which was overridden.
    :param places: the work that has taken its place among the chargers of its site, where that is not this job.
    """
    opened = jobs.open_each(
        identities,
        action=JobAction.CUT_OVER,
        purpose=CHARGER_IDENTITY.key,
        step="send_network_profile",
        parameters={
            identity.pk: {
                **({"forecast_overridden": evidence} if (evidence := against.get(identity.pk)) else {}),
                **({"place": place} if (place := places.get(identity.pk)) else {}),
            }
            for identity in identities
        },
        correlation_ids=correlation_ids,
        now=now,
    )
    overridden = [
        Happening(
            identity,
            resulting_state="",
            payload={"managedIdentityId": identity.pk, "evidence": against[identity.pk]},
            job=opened.jobs[identity.pk],
            correlation_id=correlation_ids.get(identity.pk, ""),
        )
        for identity in identities
        if against.get(identity.pk) and identity.pk in opened.new
    ]
    record_happenings(EventType.LOCK_OUT_FORECAST_OVERRIDDEN, overridden, now=now)
    return opened.jobs


def _enqueue_for(
    job: CertificateJob,
    step: str,
    action: Action,
    payload: Mapping[str, Any],
    now: datetime,
    lifetime: timedelta,
) -> None:
    tries = int(job.parameters.get(f"{step}_tries", 0)) + 1
    job.parameters = {**job.parameters, f"{step}_tries": tries, "stage": step, "asked_at": now.isoformat()}
    outbox.enqueue(
        station_id=job.identity.authoritative_identifier,
        action=action,
        payload=dict(payload),
        dedupe_key=f"{delivery.reference(job, step)}:{tries}",
        now=now,
        expires_after=lifetime,
        reference=delivery.reference(job, step),
        correlation_id=job.correlation_id,
    )


@engine.local_step("send_network_profile")
def send_network_profile(job: CertificateJob, now: datetime) -> Result:
    """SetNetworkProfile with the next security profile (A05.FR.04)."""
    policy = policies.resolve(job.identity, job.purpose).policy
    payload = canonical.set_network_profile(PROFILE_3_SLOT, PROFILE_3, settings.CONFIGURATION.profile3_url)
    _enqueue_for(job, "send_network_profile", Action.SET_NETWORK_PROFILE, payload, now, policy.delivery_deadline)
    return Wait("the station to take the network profile", now + policy.delivery_deadline, "cut_over_unanswered")


@engine.local_step("send_priority")
def send_priority(job: CertificateJob, now: datetime) -> Result:
    """NetworkConfigurationPriority: the new profile first, the old one after it."""
    policy = policies.resolve(job.identity, job.purpose).policy
    payload = canonical.set_network_priority([PROFILE_3_SLOT, PROFILE_2_SLOT])
    _enqueue_for(job, "send_priority", Action.SET_NETWORK_PRIORITY, payload, now, policy.delivery_deadline)
    return Wait("the station to take the new priority", now + policy.delivery_deadline, "cut_over_unanswered")


@engine.local_step("send_security_profile")
def send_security_profile(job: CertificateJob, now: datetime) -> Result:
    """The security profile itself, where it is not part of the network profile.

    A station may leave as soon as it has it, so from here on it needs a place of its site.
    """
    policy = policies.resolve(job.identity, job.purpose).policy
    its_turn = _await_place(job, policy, "send_security_profile", now)
    if its_turn is not None:
        return its_turn
    payload = canonical.set_security_profile(PROFILE_3)
    lifetime = min(policy.delivery_deadline, policy.cut_over_deadline)
    _enqueue_for(job, "send_security_profile", Action.SET_SECURITY_PROFILE, payload, now, lifetime)
    return Wait("the station to take the security profile", now + lifetime, "cut_over_unanswered")


@engine.local_step("send_reset")
def send_reset(job: CertificateJob, now: datetime) -> Result:
    """Reset: the station comes back with the new profile."""
    policy = policies.resolve(job.identity, job.purpose).policy
    its_turn = _await_place(job, policy, "send_reset", now)
    if its_turn is not None:
        return its_turn
    payload = canonical.reset(ResetKind.APPLY_CONFIGURATION)
    _enqueue_for(job, "send_reset", Action.RESET, payload, now, RESET_LIFETIME)
    return Wait("the station to come back on Profile 3", now + policy.cut_over_deadline, "cut_over_unanswered")


def _await_place(job: CertificateJob, policy: LifecyclePolicy, step: str, now: datetime) -> Result | None:
    """Take a place of the site for a station that is about to leave; None when it has one.

    It waits for one no longer than a delivery is tried.
    """
    place = caps.place_of_cut_over(job)
    until = now + policy.cut_over_deadline + caps.TAKEN_AT_THE_LAST_MOMENT
    if caps.take(job.identity, place, until, now):
        return None
    why = absences.why_not(job.identity, place, now, longest=180)
    since = job.parameters.get("waits_for_place_since", now.isoformat())
    job.parameters = {**job.parameters, "waits_for_place_since": since}
    if datetime.fromisoformat(since) + policy.delivery_deadline <= now:
        return Fail(
            f"{job.identity.authoritative_identifier} was not sent to Profile 3: {why}. It goes on connecting as "
            "before; cut over again when its site can spare it."
        )
    return Wait(f"its turn: {why}", now + delivery.PAUSE_FOR_A_PLACE, step)


@engine.local_step("cut_over_unanswered")
def cut_over_unanswered(job: CertificateJob, now: datetime) -> Result:
    """The deadline of the present wait passed."""
    return Fail(
        f"{job.identity.authoritative_identifier} did not finish the cut-over in time: see its last answer among the "
        "commands. It can go on connecting as before; check it, then cut over again."
    )


_CUT_OVER_NEXT = {
    "send_network_profile": "send_priority",
    "send_priority": "send_security_profile",
    "send_security_profile": "send_reset",
}


def _cut_over_answered(job: CertificateJob, step: str, outcome: str, detail: str, now: datetime) -> None:
    if not job.is_open or job.step != "cut_over_unanswered":
        return
    if outcome == CommandOutcome.ACCEPTED:
        if step in _CUT_OVER_NEXT:
            engine.advance(job, Proceed(_CUT_OVER_NEXT[step]), now)
        return
    _again(
        job, step, f"The station did not take {step.removeprefix('send_').replace('_', ' ')}: {detail or outcome}", now
    )


def _again(job: CertificateJob, step: str, why: str, now: datetime) -> None:
    job.step, job.attempts = step, int(job.parameters.get(f"{step}_tries", 1))
    engine.advance(job, Retry(why), now)


def booted(identity: ManagedIdentity, session_id: str, now: datetime) -> None:
    """A station that was told to restart for Profile 3 is back below it: it could not get in there, and tries again.

    Stations fall back by themselves after a few attempts (conformance 15), as when the gateway was away just then.
    """
    session = StationSession.objects.filter(pk=session_id).first() if session_id else None
    if session is None or session.security_profile >= PROFILE_3:
        return
    waiting = CertificateJob.objects.open().filter(
        identity=identity, action=JobAction.CUT_OVER, step="cut_over_unanswered", parameters__stage="send_reset"
    )
    job_id = waiting.values_list("pk", flat=True).first()
    if job_id is None:
        return
    with transaction.atomic(), attributed(Actor.station(session.station_id), "Restarted below Profile 3"):
        lock_identity(identity.pk)
        job = jobs.lock(job_id)
        asked_at = job.parameters.get("asked_at")
        if not job.is_open or job.step != "cut_over_unanswered" or job.parameters.get("stage") != "send_reset":
            return
        if asked_at and session.connected_at <= datetime.fromisoformat(asked_at):
            return
        why = f"The station restarted but came back on Profile {session.security_profile}."
        # One that went back by itself has changed its security profile, too.
        _again(job, "send_security_profile", why, now)


# -- answers ---------------------------------------------------------------------------------------------------------


def answered(
    *,
    command_id: str,
    outcome: CommandOutcome,
    detail: str,
    answer: Mapping[str, Any],
    session: str,
    now: datetime,
) -> None:
    """Give a command's answer to the job, or to the floor above, that asked for it."""
    command = row(OutboxCommand, "id = %s", int(command_id)) if command_id.isdigit() else None
    if command is None:
        return
    kind, _, rest = command.reference.partition(":")
    why = f"Answer to {command.action}: {detail or outcome}"
    if kind != "job":
        with (
            attributed(Actor.station(command.station_id), why, command.correlation_id),
            transaction.atomic(savepoint=False),
        ):
            seams.tell_answer(kind, seams.CommandAnswer(command, rest, outcome, detail, answer, session, now))
        return
    job_id, _, step = rest.partition(":")
    if not job_id.isdigit():
        return
    with transaction.atomic(savepoint=False):
        job = jobs.lock(int(job_id))
        with attributed(Actor.station(command.station_id), why, job.correlation_id):
            _route(job, step, command, outcome, detail, session, now)


def _route(
    job: CertificateJob,
    step: str,
    command: OutboxCommand,
    outcome: CommandOutcome,
    detail: str,
    session: str,
    now: datetime,
) -> None:
    if job.action == JobAction.CUT_OVER:
        _cut_over_answered(job, step, outcome, detail, now)
    elif step == "request_csr" and job.is_open:
        delivery.trigger_answered(job, outcome, detail, now)
    elif step == "deliver":
        record_id = command.dedupe_key.split(":")[-2]
        delivery.delivery_answered(
            job, int(record_id), outcome, detail, session=session, command=str(command.pk), now=now
        )
