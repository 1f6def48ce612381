"""The door for Profile 2: which password opens it, in which form, when, and why it stays shut."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from bfcerts.ocpp.canonical import RefusalReason as R
from bfcerts.ocpp.registry import Admission, Refusal, Stay
from inventory.models import ChargerFamily, ManagedIdentity
from inventory.services import catalogue, identities
from migration.models import AuthorizationKey
from migration.services.authorization_keys import PasswordDoor
from migration.services.secrets_of_keys import digest
from tests.inventory.attempts import password_attempt
from tests.migration.keys import key_in
from tests.support import OPERATOR, charger

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
SECRET = b"a-secret-of-20-chars"
State = AuthorizationKey.State


def key(
    identity: ManagedIdentity, secret: bytes = SECRET, state: str = State.ACTIVE, **fields: Any
) -> AuthorizationKey:
    return key_in(identity, state, secret, **fields)


def decide(password: bytes | None = SECRET, station_id: str = "CS-1") -> Admission | Refusal:
    (decision,) = PasswordDoor().decide([password_attempt(station_id, password, NOW)])
    return decision


def refusal(decision: Admission | Refusal) -> R:
    assert isinstance(decision, Refusal), decision
    assert SECRET.decode() not in decision.detail
    assert SECRET.hex() not in decision.detail
    return decision.reason


def admits(decision: Admission | Refusal) -> bool:
    return isinstance(decision, Admission) and decision.security_profile == 2


@pytest.mark.parametrize("state", [State.ACTIVE, State.PENDING, State.RETIRING])
def test_every_slot_opens_the_door(state: str) -> None:
    key(charger("CS-1"), state=state)

    assert admits(decide())


@pytest.mark.parametrize("state", [State.RETIRED, State.REVOKED])
def test_an_ended_key_does_not(state: str) -> None:
    key(charger("CS-1"), state=state)

    assert refusal(decide()) == R.WRONG_PASSWORD


def test_both_slots_open_the_door_until_the_new_one_is_confirmed() -> None:
    identity = charger("CS-1")
    key(identity, b"the-present-one-here", State.ACTIVE)
    key(identity, b"the-coming-one-there", State.PENDING)

    assert admits(decide(b"the-present-one-here"))
    assert admits(decide(b"the-coming-one-there"))


@pytest.mark.parametrize(("until", "admitted"), [(None, True), (NOW + SECOND, True), (NOW, False), (NOW - DAY, False)])
def test_a_retiring_key_works_until_its_window_ends(until: datetime | None, admitted: bool) -> None:
    key(charger("CS-1"), state=State.RETIRING, retiring_until=until)

    assert isinstance(decide(), Admission) == admitted


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        (SECRET, SECRET),
        (SECRET, SECRET.hex().encode()),
        (SECRET, SECRET.hex().upper().encode()),
        (SECRET.hex().encode(), SECRET),
        (SECRET.hex().upper().encode(), SECRET),
        (bytes(range(16, 32)).hex().encode(), bytes(range(16, 32))),
    ],
    ids=["as set", "hex of it", "upper-case hex", "bytes of the hex", "bytes of upper-case hex", "unprintable bytes"],
)
def test_a_station_may_send_the_bytes_or_their_hex(stored: bytes, sent: bytes) -> None:
    key(charger("CS-1"), stored)

    assert admits(decide(sent))


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        SECRET[:-1],
        SECRET + b"\x00",
        SECRET.upper(),
        SECRET.hex().encode().hex().encode(),
        b"\xff" * 20,
        b"0" * 4096,
        digest(SECRET).encode(),
    ],
)
def test_anything_else_is_a_wrong_password(sent: bytes) -> None:
    key(charger("CS-1"))

    assert refusal(decide(sent)) == R.WRONG_PASSWORD


def test_another_chargers_key_is_a_wrong_password() -> None:
    key(charger("CS-1"), b"one-of-the-first-one")
    key(charger("CS-2"))

    assert refusal(decide()) == R.WRONG_PASSWORD


def test_without_a_password_there_is_no_way_in() -> None:
    key(charger("CS-1"))

    assert refusal(decide(None)) == R.NO_CREDENTIALS


def test_a_charger_without_a_key_does_not_get_in() -> None:
    charger("CS-1")

    assert refusal(decide()) == R.WRONG_PASSWORD


@pytest.mark.parametrize("station_id", ["CS-2", "cs-1", "CS-1 ", "", "CS-1' OR '1'='1"])
def test_an_unknown_station_is_told_apart_for_the_operator(station_id: str) -> None:
    key(charger("CS-1"))

    assert refusal(decide(station_id=station_id)) == R.UNKNOWN_STATION


def test_an_identity_of_another_kind_is_no_charger() -> None:
    identities.create(kind="evse", authoritative_identifier="CS-1", actor=OPERATOR, reason="test")

    assert refusal(decide()) == R.UNKNOWN_STATION


def test_a_disabled_charger_is_refused_even_with_its_key() -> None:
    key(charger("CS-1"))
    ManagedIdentity.objects.update(enabled=False)

    assert refusal(decide()) == R.DISABLED_STATION


@pytest.mark.parametrize(
    ("profile", "fallback_until", "reason"),
    [
        (0, None, None),
        (1, None, None),
        (2, None, None),
        (3, None, R.PROFILE_TOO_LOW),
        (3, NOW - DAY, R.PROFILE_TOO_LOW),
        (3, NOW, R.PROFILE_TOO_LOW),
        (3, NOW + SECOND, None),
    ],
)
def test_a_charger_that_has_moved_up_comes_back_down_only_while_its_migration_allows_it(
    profile: int, fallback_until: datetime | None, reason: R | None
) -> None:
    key(charger("CS-1"))
    ManagedIdentity.objects.update(security_profile=profile, fallback_until=fallback_until)

    decision = decide()

    assert admits(decision) if reason is None else refusal(decision) == reason


def test_a_success_is_remembered_without_a_history_row_and_a_refusal_is_not() -> None:
    used, unused = key(charger("CS-1")), key(charger("CS-2"), b"another-secret-here-")

    decide()
    decide(station_id="CS-2")

    used.refresh_from_db()
    unused.refresh_from_db()
    assert used.last_success_at == NOW
    assert unused.last_success_at is None
    assert AuthorizationKey.history.count() == 0


@pytest.mark.parametrize(
    ("state", "last_success_at", "watched_until", "news"),
    [
        (State.ACTIVE, NOW - DAY, None, False),
        (State.ACTIVE, NOW - DAY, NOW, False),
        (State.ACTIVE, NOW - DAY, NOW + SECOND, True),
        (State.ACTIVE, None, None, True),
        (State.PENDING, NOW - DAY, None, True),
        (State.RETIRING, NOW - DAY, None, True),
    ],
)
def test_what_somebody_waits_for_is_news(
    state: str, last_success_at: datetime | None, watched_until: datetime | None, news: bool
) -> None:
    entry = key(charger("CS-1"), state=state, last_success_at=last_success_at)
    ManagedIdentity.objects.update(connections_watched_until=watched_until)

    assert decide() == Admission(2, evidence_wanted=news, options={"authorization_key": entry.pk})


def test_the_door_names_the_variant_that_the_family_speaks() -> None:
    identity = charger("CS-1")
    key(identity)
    family = ChargerFamily(name="HS-50", vendor="Harbour", model="HS-50", protocol_variant="ocpp1.6-legacy-trigger")
    catalogue.save(entry=family, actor=OPERATOR, reason="test")
    ManagedIdentity.objects.update(family=family)

    decision = decide()

    assert isinstance(decision, Admission)
    assert decision.options["adapter"] == "ocpp1.6-legacy-trigger"


def test_a_storm_of_reconnects_costs_two_queries_and_is_answered_in_order() -> None:
    attempts = []
    for number in range(20):
        key(charger(f"CS-{number}"), f"secret-of-charger-{number:02}".encode())
        attempts.append(password_attempt(f"CS-{number}", f"secret-of-charger-{number:02}".encode(), NOW))
    attempts.insert(7, password_attempt("CS-3", b"a-wrong-one-altogether", NOW))

    with CaptureQueriesContext(connection) as queries:
        decisions = PasswordDoor().decide(attempts)

    assert len(queries) == 2
    assert [isinstance(decision, Admission) for decision in decisions] == [number != 7 for number in range(21)]


# -- live sessions ---------------------------------------------------------------------------------------------------


def review(entry: AuthorizationKey, now: datetime = NOW) -> R | None:
    stay = Stay(entry.identity.authoritative_identifier, {"authorization_key": entry.pk}, now)
    (refusal,) = PasswordDoor().review([stay])
    return refusal.reason if refusal else None


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (State.ACTIVE, None),
        (State.PENDING, None),
        (State.RETIRING, None),
        (State.RETIRED, R.WRONG_PASSWORD),
        (State.REVOKED, R.WRONG_PASSWORD),
    ],
)
def test_a_session_may_stay_as_long_as_its_key_opens_the_door(state: str, reason: R | None) -> None:
    assert review(key(charger("CS-1"), state=state)) == reason


def test_a_session_of_a_retiring_key_ends_with_its_window() -> None:
    entry = key(charger("CS-1"), state=State.RETIRING, retiring_until=NOW + SECOND)

    assert review(entry) is None
    assert review(entry, NOW + SECOND) == R.WRONG_PASSWORD


def test_a_session_ends_where_no_password_opens_the_door_any_more() -> None:
    disabled, moved, falling_back = (key(charger(name)) for name in ("CS-1", "CS-2", "CS-3"))
    ManagedIdentity.objects.filter(pk=disabled.identity_id).update(enabled=False)
    ManagedIdentity.objects.filter(pk=moved.identity_id).update(security_profile=3)
    ManagedIdentity.objects.filter(pk=falling_back.identity_id).update(security_profile=3, fallback_until=NOW + DAY)

    assert review(disabled) == R.DISABLED_STATION
    assert review(moved) == R.PROFILE_TOO_LOW
    assert review(falling_back) is None
    assert review(falling_back, NOW + DAY) == R.PROFILE_TOO_LOW


def test_what_the_door_gives_along_is_what_it_is_asked_about_again() -> None:
    entry = key(charger("CS-1"))
    decision = decide()
    assert isinstance(decision, Admission)

    assert PasswordDoor().review([Stay("CS-1", decision.options, NOW)]) == [None]
    AuthorizationKey.objects.filter(pk=entry.pk).update(state=State.REVOKED, ended_at=NOW)
    assert PasswordDoor().review([Stay("CS-1", decision.options, NOW)]) != [None]
