"""The duty that keeps the working tables short: what it deletes, what it keeps, and that it never touches the audit."""

from datetime import UTC, datetime, timedelta

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from knox.models import AuthToken

from bfcerts.ocpp import outbox
from bfcerts.ocpp.canonical import Action, reset
from bfcerts.ocpp.models import InboxMessage, OutboxCommand, StationSession
from inventory.jobs import periodic
from inventory.models import CertificateJob, CertificateRecord, RateBucket
from inventory.services import lifecycle, rate_limits, retention
from tests.support import OPERATOR, ControlPlane, charger

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


def run_retention(now: datetime) -> None:
    """Every duty of this module, as the worker runs it."""
    names = [item.name for item in periodic.known_duties()]
    assert {"retention", "retention-of-limits", "forget-answers"} <= set(names)
    retention.delete_what_ended(now)
    retention.delete_full_limits(now)


def audited_rows() -> dict[str, int]:
    """How many rows each table of the inventory has that is part of the record of what happened."""
    working = {"ratebucket", "periodictask", "queuebeat", "idempotencykey"}
    models = [model for model in apps.get_app_config("inventory").get_models() if model._meta.model_name not in working]
    return {model._meta.db_table: model._default_manager.count() for model in models}


def test_a_whole_life_is_forgotten_by_the_wire_and_remembered_by_the_audit(plane: ControlPlane) -> None:
    record = plane.enrol(charger())
    before = audited_rows()
    OutboxCommand.objects.update(finished_at=plane.clock())
    assert InboxMessage.objects.exists()
    assert OutboxCommand.objects.exists()

    run_retention(plane.clock.advance(days=settings.CONFIGURATION.keep_commands_days + 1))

    assert not InboxMessage.objects.exists()
    assert not OutboxCommand.objects.exists()
    assert audited_rows() == before
    assert CertificateRecord.objects.get(pk=record.pk).state == "active"


def test_what_an_open_job_has_asked_for_stays_however_long_it_takes(plane: ControlPlane) -> None:
    waiting, done = (
        lifecycle.issue(
            identity=charger(name), purpose="charger_identity", actor=OPERATOR, reason="test", now=plane.clock()
        )
        for name in ("CS-1", "CS-2")
    )
    plane.work()
    plane.complete(done)
    OutboxCommand.objects.update(state="answered", finished_at=plane.clock())
    assert OutboxCommand.objects.filter(reference__startswith=f"job:{done.pk}:").exists()

    run_retention(plane.clock.advance(days=settings.CONFIGURATION.keep_commands_days + 1))

    assert CertificateJob.objects.get(pk=waiting.pk).is_open
    (kept,) = OutboxCommand.objects.all()
    assert kept.reference == f"job:{waiting.pk}:request_csr"


def test_a_floor_above_can_keep_the_commands_of_its_own_open_work() -> None:
    asked: list[set[str]] = []

    def still_needed(references: object) -> set[str]:
        assert isinstance(references, set)
        asked.append(references)
        return {"7:send"}

    retention.keep_commands_of("case", still_needed)
    try:
        for key, reference in (("a", "case:7:send"), ("b", "case:8:send"), ("c", "actor:operator")):
            outbox.enqueue(
                station_id="CS-1",
                action=Action.RESET,
                payload=reset(),
                dedupe_key=key,
                now=NOW,
                expires_after=DAY,
                reference=reference,
            )
        OutboxCommand.objects.update(state="answered", finished_at=NOW)
        run_retention(NOW + 91 * DAY)
    finally:
        del retention._keepers["case"]

    assert asked == [{"7:send", "8:send"}]
    assert [command.dedupe_key for command in OutboxCommand.objects.all()] == ["a"]


def test_the_settings_say_how_long(plane: ControlPlane) -> None:
    settings.CONFIGURATION = settings.CONFIGURATION.model_copy(
        update={"keep_messages_days": 2, "keep_commands_days": 3, "keep_sessions_days": 4}
    )
    plane.enrol(charger())
    OutboxCommand.objects.update(finished_at=plane.clock())
    StationSession.objects.create(
        station_id="CS-1",
        node="n",
        listener="dual",
        protocol="ocpp2.0.1",
        security_profile=2,
        address="192.0.2.1",
        connected_at=plane.clock(),
        closed_at=plane.clock(),
    )
    left = []
    for _ in range(5):
        run_retention(plane.clock.advance(days=1, seconds=1))
        left.append([model.objects.exists() for model in (InboxMessage, OutboxCommand, StationSession)])

    assert left == [
        [True, True, True],
        [False, True, True],
        [False, False, True],
        [False, False, False],
        [False, False, False],
    ]


def test_limits_that_are_full_again_sign_ins_and_tokens_that_ended_are_forgotten() -> None:
    user = User.objects.create_user("operator")
    _, ends = AuthToken.objects.create(user=user, expiry=timedelta(hours=1)), datetime.now(UTC) + timedelta(hours=2)
    live, _ = AuthToken.objects.create(user=user, expiry=timedelta(hours=3))
    endless, _ = AuthToken.objects.create(user=user, expiry=None)
    Session.objects.create(session_key="old", session_data="", expire_date=ends - timedelta(minutes=1))
    Session.objects.create(session_key="live", session_data="", expire_date=ends + timedelta(minutes=1))
    rate_limits.take("old", per_second=1, burst=2, now=ends - timedelta(hours=25))
    rate_limits.take("used", per_second=1, burst=2, now=ends - timedelta(hours=23))

    run_retention(ends)

    assert set(AuthToken.objects.values_list("digest", flat=True)) == {live.digest, endless.digest}
    assert [session.session_key for session in Session.objects.all()] == ["live"]
    assert [bucket.name for bucket in RateBucket.objects.all()] == ["used"]
