"""The narrow door for a renewal: one charger comes in with its own expired certificate, and leaves with a new one."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from bfcerts.ocpp.canonical import Action, RefusalReason
from bfcerts.ocpp.registry import Admission, Refusal
from inventory.actors import Actor
from inventory.choices import JobState, RecordState
from inventory.errors import InvalidInputError, NotPermittedError, TransitionRefusedError
from inventory.models import CertificateJob, CertificateRecord, IssuingAuthority, ManagedIdentity, SecurityEvent
from inventory.services import actions, identities, lifecycle, lockouts, sweeps
from migration.key_choices import DoorKind
from migration.models import RecoveryDoor
from migration.services import recovery
from migration.services.secrets_of_keys import generate
from migration.services.why import why
from tests.inventory.material import external_certificate
from tests.migration.fleet import cohort
from tests.migration.renewing import DAY, come_in, decide, expired, open_door, reason_of, session
from tests.support import OPERATOR, ControlPlane, charger
from tests.trustanchors.support import own_bundles, release
from trustanchors.models import BundleRollout
from trustanchors.services import membership

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("swept", [False, True])
def test_anchors_that_came_while_it_was_away_do_not_keep_it_from_its_renewal(plane: ControlPlane, swept: bool) -> None:
    identity, record = expired(plane, swept=swept)
    release(plane, own_bundles(plane.clock()), cohort("All", [identity]))
    membership.take_in_members(plane.clock())
    assert not BundleRollout.objects.filter(gate_open=True).exists()

    open_door(plane, identity)
    come_in(plane, record)

    assert CertificateJob.objects.filter(identity=identity).open().get().action in ("issue", "renew")
    assert not SecurityEvent.objects.filter(type="RenewalNotStarted").exists()


@pytest.mark.parametrize("swept", [True, False])
def test_from_an_expired_certificate_over_the_door_to_a_new_one(plane: ControlPlane, swept: bool) -> None:
    identity, record = expired(plane, swept=swept)
    assert reason_of(decide(record, plane.clock())) == RefusalReason.CERTIFICATE_EXPIRED

    door = open_door(plane, identity)

    assert (door.kind, door.cause, door.certificate_id) == (DoorKind.EXPIRED_CERTIFICATE, "expired", record.pk)
    admission = come_in(plane, record)
    assert admission.renewal_only_until == door.until
    job = CertificateJob.objects.get(identity=identity, state=JobState.WAITING)
    assert (job.actor, job.action) == ("system:recovery", "issue")
    assert "test-operator opened: forgotten over the winter" in job.reason
    live = session(plane, identity, record)

    new = plane.complete(job)

    new.refresh_from_db()
    assert new.state == RecordState.ACTIVE
    door.refresh_from_db()
    assert door.closing == "The charger is back on Profile 3"
    live.refresh_from_db()
    assert live.close_reason == "the narrow door for the renewal of its certificate is closed"
    record.refresh_from_db()
    assert (record.renewal_only_until, record.state) == (None, RecordState.RETIRED)
    assert reason_of(decide(record, plane.clock())) == RefusalReason.CERTIFICATE_EXPIRED
    assert why(ManagedIdentity.objects.get(pk=identity.pk), plane.clock()) is None


def test_only_that_certificate_of_that_charger_and_only_until_the_end(plane: ControlPlane) -> None:
    _, others = expired(plane, "CS-2")
    identity, record = expired(plane)
    door = open_door(plane, identity)

    assert reason_of(decide(others, plane.clock())) == RefusalReason.CERTIFICATE_EXPIRED
    assert reason_of(decide(others, plane.clock(), "CS-1")) == RefusalReason.CERTIFICATE_OF_ANOTHER_STATION
    assert reason_of(decide(record, plane.clock(), "CS-2")) == RefusalReason.CERTIFICATE_OF_ANOTHER_STATION
    moment = timedelta(microseconds=1)
    assert isinstance(decide(record, door.until - moment), Admission)
    assert reason_of(decide(record, door.until)) == RefusalReason.CERTIFICATE_EXPIRED
    live = session(plane, identity, record)
    end = plane.clock.advance(days=2)

    assert recovery.close_overdue(end) == 1

    door.refresh_from_db()
    record.refresh_from_db()
    live.refresh_from_db()
    assert (door.closed_at, door.closing, record.renewal_only_until) == (end, "Its time is over", None)
    assert live.closed_at == end
    assert reason_of(decide(record, plane.clock() - DAY)) == RefusalReason.CERTIFICATE_EXPIRED


def test_a_clock_that_goes_back_does_not_make_it_a_full_admission(plane: ControlPlane) -> None:
    """While the certificate is valid the door changes nothing of what its state allows."""
    identity, record = expired(plane)
    open_door(plane, identity)
    assert record.not_after is not None

    assert reason_of(decide(record, record.not_after - DAY)) == RefusalReason.CERTIFICATE_SUPERSEDED


def test_a_revocation_closes_it_in_the_same_moment(plane: ControlPlane) -> None:
    identity, record = expired(plane)
    door = open_door(plane, identity)
    live = session(plane, identity, record)

    lifecycle.revoke(record=record, actor=OPERATOR, reason="stolen", now=plane.clock())

    door.refresh_from_db()
    live.refresh_from_db()
    assert door.closing == f"Certificate {record.pk} was revoked"
    assert live.closed_at == plane.clock()
    assert isinstance(decide(record, plane.clock()), Refusal)
    with pytest.raises(TransitionRefusedError, match=f"Certificate {record.pk}, the last of CS-1, was revoked"):
        open_door(plane, identity)
    with transaction.atomic(), pytest.raises(IntegrityError, match="renewal_door_only_for_what_expired"):
        CertificateRecord.objects.filter(pk=record.pk).update(renewal_only_until=plane.clock() + DAY)


def test_an_operator_closes_it_before_its_end(plane: ControlPlane) -> None:
    identity, record = expired(plane)
    door = open_door(plane, identity)
    live = session(plane, identity, record)

    recovery.close(door=door, actor=OPERATOR, reason="wrong one", now=plane.clock())

    live.refresh_from_db()
    assert live.closed_at == plane.clock()
    assert reason_of(decide(record, plane.clock())) == RefusalReason.CERTIFICATE_EXPIRED
    with pytest.raises(TransitionRefusedError, match="closed already"):
        recovery.close(door=door, actor=OPERATOR, reason="again", now=plane.clock())


def test_what_a_door_rests_on_is_not_taken_away_under_it(plane: ControlPlane) -> None:
    identity, record = expired(plane, swept=False)
    open_door(plane, identity)

    for verb in (lifecycle.deactivate, lifecycle.delete):
        if verb is lifecycle.delete:
            sweeps.retire_expired(plane.clock())
        with pytest.raises(TransitionRefusedError, match="close the door first"):
            verb(record=record, actor=OPERATOR, reason="tidy up", force=True, now=plane.clock())


def test_a_disabled_charger_stays_out(plane: ControlPlane) -> None:
    identity, record = expired(plane)
    open_door(plane, identity)

    identities.set_enabled(identity=identity, enabled=False, actor=OPERATOR, reason="sold")

    assert reason_of(decide(record, plane.clock())) == RefusalReason.DISABLED_STATION


def test_who_is_still_in_from_before_is_let_go(plane: ControlPlane) -> None:
    identity, record = expired(plane, swept=False)
    live = session(plane, identity, record)

    open_door(plane, identity)

    live.refresh_from_db()
    assert live.closed_at == plane.clock()


def test_its_connection_moves_nothing_and_closes_no_door(plane: ControlPlane) -> None:
    """Neither the record, nor a door of its own, nor what waits for the charger on Profile 3."""
    identity, record = expired(plane, swept=False)
    door = open_door(plane, identity)
    known = record.evidence.count()

    come_in(plane, record)

    record.refresh_from_db()
    door.refresh_from_db()
    assert (record.state, door.closed_at) == (RecordState.ACTIVE, None)
    assert record.evidence.count() == known


def test_a_renewal_is_started_once_and_not_at_every_connection(plane: ControlPlane) -> None:
    identity, record = expired(plane)
    open_door(plane, identity)
    come_in(plane, record)
    come_in(plane, record)
    (job,) = CertificateJob.objects.filter(identity=identity, action="issue", state=JobState.WAITING)
    plane.answer(plane.open_command(identity, Action.REQUEST_CSR), "expired")
    plane.work()
    job.refresh_from_db()
    assert job.state == JobState.FAILED

    come_in(plane, record)
    assert not CertificateJob.objects.open().filter(identity=identity).exists()
    plane.clock.advance(hours=2)
    come_in(plane, record)

    assert CertificateJob.objects.open().filter(identity=identity).count() == 1


def test_a_renewal_that_cannot_be_started_says_so(plane: ControlPlane) -> None:
    identity, record = expired(plane)
    open_door(plane, identity)
    ManagedIdentity.objects.filter(pk=identity.pk).update(mode="tracked_only")

    come_in(plane, record)

    event = SecurityEvent.objects.get(type="RenewalNotStarted")
    assert "CS-1 came in through its narrow door, but its renewal could not be started" in event.message


def test_what_stands_above_it_must_still_be_valid_and_trusted(plane: ControlPlane) -> None:
    identity, record = expired(plane)
    authority = IssuingAuthority.objects.filter(records=record)
    authority.update(trusted=False)
    with pytest.raises(TransitionRefusedError, match="is not trusted any more"):
        open_door(plane, identity)
    chain = authority.get().chain_pem
    over = external_certificate("CA", plane.clock() - 9 * DAY, 8, is_ca=True) + chain
    authority.update(trusted=True, chain_pem=over)
    with pytest.raises(TransitionRefusedError, match="chains to a CA that expired on"):
        open_door(plane, identity)
    authority.update(chain_pem=chain)
    open_door(plane, identity)
    assert isinstance(decide(record, plane.clock()), Admission)
    authority.update(chain_pem=over)

    assert reason_of(decide(record, plane.clock())) == RefusalReason.CERTIFICATE_EXPIRED


def test_who_needs_no_door_or_may_have_none_gets_none(plane: ControlPlane) -> None:
    working = charger("CS-9")
    record = plane.enrol(working)
    working.refresh_from_db()
    with pytest.raises(TransitionRefusedError, match=f"Certificate {record.pk} of CS-9 works"):
        open_door(plane, working)
    with pytest.raises(TransitionRefusedError, match="CS-8 is on Profile 0"):
        open_door(plane, charger("CS-8"))
    never = charger("CS-7")
    ManagedIdentity.objects.filter(pk=never.pk).update(security_profile=3)
    never.refresh_from_db()
    with pytest.raises(TransitionRefusedError, match="CS-7 has never used a certificate of ours"):
        open_door(plane, never)
    lifecycle.deactivate(record=record, actor=OPERATOR, reason="suspicious", force=True, now=plane.clock())
    assert record.not_after is not None
    plane.clock.now = record.not_after + DAY
    sweeps.retire_expired(plane.clock())
    with pytest.raises(TransitionRefusedError, match="was taken out of service"):
        open_door(plane, working)
    identity, _ = expired(plane)
    with pytest.raises(NotPermittedError, match=r"migration\.open_recoverydoor"):
        open_door(plane, identity, actor=Actor.person(User.objects.create_user("maria")))
    for until in (plane.clock(), plane.clock() + 15 * DAY):
        with pytest.raises(InvalidInputError, match="needs an end that is to come, at most 14 days from now"):
            open_door(plane, identity, until=until)
    open_door(plane, identity)
    with pytest.raises(TransitionRefusedError, match="CS-1 has an open door already"):
        open_door(plane, identity)
    with pytest.raises(TransitionRefusedError, match="CS-1 has an open door already"):
        recovery.open_profile_2(
            identity=identity,
            cause="expired",
            secret=generate(),
            until=plane.clock() + DAY,
            actor=OPERATOR,
            reason="both",
            now=plane.clock(),
        )


def test_it_is_offered_where_the_certificate_expired_and_not_where_it_was_revoked(plane: ControlPlane) -> None:
    identity, record = expired(plane)

    def offer(verb: str) -> actions.AvailableAction:
        current = ManagedIdentity.objects.get(pk=identity.pk)
        return next(item for item in actions.for_identity(current, OPERATOR, plane.clock()) if item.verb == verb)

    answer = why(identity, plane.clock())
    assert answer is not None
    assert f"its certificate {record.pk} expired on" in answer.sentence
    assert "Open a narrow door for its renewal" in answer.what_next
    assert offer("open_renewal_door").allowed
    assert not offer("request_csr").allowed

    door = open_door(plane, identity)
    answer = why(identity, plane.clock())
    assert answer is not None
    assert "A narrow door lets CS-1 in with its expired certificate" in answer.sentence
    assert not offer("open_renewal_door").allowed
    assert not offer("open_door").allowed
    assert offer("close_door").allowed
    assert offer("request_csr").allowed
    assert not offer("fetch_security_log").allowed
    assert lockouts.is_locked_out(identity, plane.clock())

    recovery.close(door=door, actor=OPERATOR, reason="stolen", now=plane.clock())
    lifecycle.revoke(record=record, actor=OPERATOR, reason="stolen", now=plane.clock())
    assert "was revoked" in offer("open_renewal_door").why_not
    assert offer("open_door").allowed
    answer = why(identity, plane.clock())
    assert answer is not None
    assert "fresh key" in answer.what_next


def test_opening_and_closing_are_told_with_who_and_why(plane: ControlPlane) -> None:
    identity, record = expired(plane)
    door = open_door(plane, identity)
    recovery.close(door=door, actor=OPERATOR, reason="done", now=plane.clock())

    opened, closed = (SecurityEvent.objects.get(type=f"RecoveryDoor{verb}") for verb in ("Opened", "Closed"))
    told = f"for the renewal of expired certificate {record.pk} for CS-1 was"
    assert f"{told} opened: until" in opened.message
    assert "by system:test-operator: forgotten over the winter" in opened.message
    assert f"{told} closed: Closed by system:test-operator" in closed.message
    assert door.history.latest().actor == OPERATOR.name
    assert record.history.latest().renewal_only_until is None


def test_the_database_holds_that_such_a_door_has_a_certificate(plane: ControlPlane) -> None:
    identity, _ = expired(plane)
    door = open_door(plane, identity)

    with transaction.atomic(), pytest.raises(IntegrityError, match="renewal_door_has_a_certificate"):
        RecoveryDoor.objects.filter(pk=door.pk).update(certificate=None)
