"""Which chargers need a new key: what is found by looking, and what only people know."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inventory.actors import Actor
from inventory.audit import attributed
from inventory.errors import InvalidInputError, NotPermittedError, TransitionRefusedError
from inventory.models import LifecyclePolicy, ManagedIdentity, SecurityEvent
from migration.key_choices import FLAGS, RotationReason
from migration.models import AuthorizationKey, KnownDefaultKey
from migration.services import authorization_keys, known_defaults, rotation_need
from migration.services.rotation_need import needs_of, needs_rotation
from tests.migration.keys import key_in
from tests.support import OPERATOR, charger

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SECRET = "a-secret-of-20-chars"


def generated(name: str = "CS-1", **fields: object) -> ManagedIdentity:
    """A charger whose key was made here and is in use."""
    identity = charger(name)
    key = AuthorizationKey(
        identity=identity, version=1, digest=f"{name:0>64}", source="generated", created_at=NOW - 30 * DAY, **fields
    )
    with attributed(OPERATOR, "given"):
        key.save()
        key.activate()
        key.save()
    return identity


def reason_for(identity: ManagedIdentity) -> str | None:
    need = needs_rotation(identity, NOW)
    return need.reason.value if need else None


def age_limit(days: int) -> None:
    with attributed(OPERATOR, "given"):
        LifecyclePolicy.objects.filter(purpose="authorization_key").update(validity=days * DAY)


def told() -> list[tuple[str, str]]:
    events = SecurityEvent.objects.filter(type="AuthorizationKeyNeedsRotation").order_by("pk")
    return [(event.station_id, event.native_type) for event in events]


def import_key(identity: ManagedIdentity, secret: str = SECRET) -> AuthorizationKey:
    return authorization_keys.import_existing(identity=identity, secret=secret, actor=OPERATOR, reason="given", now=NOW)


def test_a_key_that_was_made_here_and_is_nobody_elses_needs_nothing() -> None:
    assert reason_for(generated()) is None


def test_a_charger_without_a_key_says_so() -> None:
    assert reason_for(charger("CS-1")) == "no_key"


@pytest.mark.parametrize("take", [authorization_keys.set_initial, authorization_keys.import_existing])
def test_a_key_that_came_from_outside_has_to_be_rotated_once(take: Callable[..., AuthorizationKey]) -> None:
    identity = charger("CS-1")
    take(identity=identity, secret=SECRET, actor=OPERATOR, reason="given", now=NOW)

    need = needs_rotation(identity, NOW)
    assert need is not None
    assert need.reason == RotationReason.HYGIENE
    assert need.sentence == "The AuthorizationKey of CS-1 was not made here and has never been rotated."


def test_a_shared_key_is_found_at_both_chargers_and_told_once_each() -> None:
    first, second = charger("CS-1"), charger("CS-2")
    import_key(first)
    import_key(second, SECRET.encode().hex())

    assert reason_for(first) == reason_for(second) == "shared"
    assert rotation_need.look(NOW) == 2
    assert rotation_need.look(NOW + DAY) == 0
    assert told() == [("CS-1", "shared"), ("CS-2", "shared")]


def test_a_vendors_default_is_found_wherever_it_is_in_use() -> None:
    identity = charger("CS-1")
    import_key(identity)
    known_defaults.add(label="Volta Eagle", secret=SECRET, actor=OPERATOR, reason="from the manual", now=NOW)

    need = needs_rotation(identity, NOW)
    assert need is not None
    assert need.sentence == "The AuthorizationKey of CS-1 is a vendor's default: Volta Eagle."
    rotation_need.look(NOW)
    assert told() == [("CS-1", "default")]


def test_the_list_of_defaults_is_never_readable_and_takes_each_once() -> None:
    entry = known_defaults.add(label="Volta", secret=SECRET, actor=OPERATOR, reason="x", now=NOW)

    assert SECRET not in str(KnownDefaultKey.objects.values().get())
    assert SECRET not in str(KnownDefaultKey.history.values().get())
    with pytest.raises(InvalidInputError, match="in the list already, as “Volta”"):
        known_defaults.add(label="Other", secret=SECRET, actor=OPERATOR, reason="x", now=NOW)
    with pytest.raises(InvalidInputError, match="There is a default key “Volta” already"):
        known_defaults.add(label="Volta", secret="another-one-of-20-ch", actor=OPERATOR, reason="x", now=NOW)
    known_defaults.remove(entry=entry, actor=OPERATOR, reason="retired")
    assert not KnownDefaultKey.objects.exists()


def test_age_counts_only_where_a_policy_says_so() -> None:
    identity = generated()
    assert reason_for(identity) is None

    age_limit(30)
    assert reason_for(identity) == "over_age"
    assert rotation_need.look(NOW) == 1
    assert rotation_need.look(NOW) == 0
    age_limit(31)
    assert reason_for(identity) is None


@pytest.mark.parametrize("why", FLAGS)
def test_what_people_know_is_marked_told_and_gone_with_the_key(why: RotationReason) -> None:
    identity = generated()

    key = rotation_need.flag(identity=identity, why=why, actor=OPERATOR, reason="the board was swapped", now=NOW)

    assert reason_for(identity) == why
    assert told() == [("CS-1", why)]
    assert key.history.latest().history_change_reason == "the board was swapped"
    authorization_keys.revoke(key=key, actor=OPERATOR, reason="x", force=True, now=NOW)
    assert reason_for(identity) == "no_key"


def test_marking_needs_a_cause_a_key_and_a_permission() -> None:
    identity = charger("CS-1")

    with pytest.raises(InvalidInputError, match="use one of exposure"):
        rotation_need.flag(identity=identity, why="hygiene", actor=OPERATOR, reason="x")
    with pytest.raises(TransitionRefusedError, match="CS-1 has no active key"):
        rotation_need.flag(identity=identity, why="exposure", actor=OPERATOR, reason="x")
    person = Actor.person(User.objects.create_user("maria"))
    with pytest.raises(NotPermittedError, match=r"migration\.flag_authorizationkey"):
        rotation_need.flag(identity=identity, why="exposure", actor=person, reason="x")


def test_a_charger_that_went_back_needs_a_new_key() -> None:
    identity = generated(last_success_at=NOW - 2 * DAY)
    former = AuthorizationKey.objects.get(identity=identity)
    AuthorizationKey.objects.filter(pk=former.pk).update(state="retiring", retiring_until=NOW + DAY)
    newer = AuthorizationKey(
        identity=identity, version=2, digest="9" * 64, source="generated", created_at=NOW, last_success_at=NOW - DAY
    )
    with attributed(OPERATOR, "given"):
        newer.save()
        newer.activate()
        newer.save()
    assert reason_for(identity) is None

    AuthorizationKey.objects.filter(pk=former.pk).update(last_success_at=NOW)
    assert reason_for(identity) == "reverted"


def test_many_are_judged_in_as_many_queries_as_few() -> None:
    age_limit(90)
    few = [generated(f"A-{number}") for number in range(2)]
    many = [generated(f"B-{number}") for number in range(30)]
    with_set_keys = [charger(f"C-{number}") for number in range(10)]
    for identity in with_set_keys:
        key_in(identity, "active")

    with CaptureQueriesContext(connection) as for_few:
        needs_of(few, NOW)
    with CaptureQueriesContext(connection) as for_many:
        found = needs_of(many, NOW)

    assert len(for_many) == len(for_few) <= 6
    assert found == {}
    assert len(needs_of(with_set_keys, NOW)) == 10
