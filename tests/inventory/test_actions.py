"""What an operator is told of a verb before using it, where a charger could not connect any more."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inventory.audit import attributed
from inventory.models import CertificateRecord, ManagedIdentity
from inventory.services import actions, lifecycle, lockouts
from inventory.services.actions import AvailableAction
from tests.admin import given
from tests.support import OPERATOR, charger

pytestmark = pytest.mark.django_db
OVER_THE_AIR = ("request_csr", "list_certificates", "install_trust_anchors", "fetch_security_log", "reset")


def on_profile_3(name: str, **fields: Any) -> ManagedIdentity:
    identity = charger(name)
    with attributed(OPERATOR, "given"):
        ManagedIdentity.objects.filter(pk=identity.pk).update(security_profile=3, **fields)
    identity.refresh_from_db()
    return identity


def record_verbs(record: CertificateRecord) -> dict[str, AvailableAction]:
    fresh = CertificateRecord.objects.select_related("identity").get(pk=record.pk)
    return {item.verb: item for item in actions.for_record(fresh, OPERATOR, datetime.now(UTC))}


def identity_verbs(identity: ManagedIdentity) -> dict[str, AvailableAction]:
    return {item.verb: item for item in actions.for_identity(identity, OPERATOR, datetime.now(UTC))}


def test_taking_the_last_working_certificate_on_profile_3_says_that_the_charger_is_locked_out() -> None:
    verbs = record_verbs(given.active_record(on_profile_3("CS-1")))

    assert verbs["revoke"].explanation.endswith(
        "This is its last working certificate: it is locked out until somebody brings it back on site."
    )
    assert "This is its last working certificate" in verbs["deactivate"].explanation


def test_a_certificate_that_is_not_the_only_way_in_is_taken_without_that_warning() -> None:
    now, hour = datetime.now(UTC), timedelta(hours=1)
    installed = {"state": "installed_pending_activation", "evidence_kind": "install_acknowledged"}
    with_another = on_profile_3("CS-1")
    given.active_record(with_another)
    spare = given.active_record(with_another, **installed)
    revoked = given.active_record(on_profile_3("CS-2"))
    lifecycle.revoke(record=revoked, actor=OPERATOR, reason="x")
    others = [
        spare,
        revoked,
        given.active_record(charger("CS-3"), **installed),
        given.active_record(on_profile_3("CS-4", fallback_until=now + hour), **installed),
    ]

    for record in others:
        assert "last working" not in record_verbs(record)["revoke"].explanation
    lapsed = given.active_record(on_profile_3("CS-5", fallback_until=now - hour), **installed)
    assert "last working" in record_verbs(lapsed)["revoke"].explanation


def test_a_charger_that_is_locked_out_is_sent_nothing_and_issue_asks_for_a_request_from_the_site() -> None:
    verbs = identity_verbs(on_profile_3("CS-1"))

    for name in OVER_THE_AIR:
        assert (verbs[name].allowed, verbs[name].why_not) == (False, actions.LOCKED_OUT)
    assert verbs["issue"].allowed
    assert "paste a certificate signing request that was taken on site" in verbs["issue"].explanation
    assert verbs["disable"].allowed


def test_a_charger_that_can_connect_is_sent_commands() -> None:
    now = datetime.now(UTC)
    certified = on_profile_3("CS-1")
    given.active_record(certified)

    for identity in (certified, charger("CS-2"), on_profile_3("CS-3", fallback_until=now + timedelta(hours=1))):
        verbs = identity_verbs(identity)
        assert all(verbs[name].allowed for name in OVER_THE_AIR)
        assert "cannot be asked" not in verbs["issue"].explanation


def test_the_list_of_those_locked_out_is_what_the_single_answer_says() -> None:
    now = datetime.now(UTC)
    expected = {on_profile_3("CS-1"), on_profile_3("CS-2", fallback_until=now - timedelta(hours=1))}
    certified = on_profile_3("CS-3")
    given.active_record(certified)
    expired = on_profile_3("CS-4")
    ended = given.active_record(expired)
    CertificateRecord.objects.filter(pk=ended.pk).update(not_after=now - timedelta(minutes=1))
    charger("CS-5")
    on_profile_3("CS-6", fallback_until=now + timedelta(hours=1))
    given.identity(kind="vehicle", authoritative_identifier="WVW1")

    expected.add(expired)
    assert set(lockouts.locked_out(ManagedIdentity.objects.all(), now)) == expected
    assert {item for item in ManagedIdentity.objects.all() if lockouts.is_locked_out(item, now)} == expected


def test_the_answers_cost_few_queries() -> None:
    """On Profile 3 the narrow doors ask for more: what stands open, and by what another one could be opened."""
    certified = on_profile_3("CS-1")
    record = CertificateRecord.objects.select_related("identity").get(pk=given.active_record(certified).pk)
    now = datetime.now(UTC)

    with CaptureQueriesContext(connection) as queries:
        actions.for_record(record, OPERATOR, now)
    assert len(queries) == 1
    for identity, most in ((certified, 5), (charger("CS-2"), 1), (on_profile_3("CS-3"), 7)):
        with CaptureQueriesContext(connection) as queries:
            actions.for_identity(identity, OPERATOR, now)
        assert len(queries) == most
