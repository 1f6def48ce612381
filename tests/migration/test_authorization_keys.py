"""AuthorizationKeys: set, imported and revoked by people; never seen again in the clear."""

from datetime import UTC, datetime, timedelta

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django_fsm import TransitionNotAllowed

from inventory.actors import Actor
from inventory.choices import EventType
from inventory.errors import InvalidInputError, NotPermittedError, TransitionRefusedError
from inventory.models import DomainEvent, ManagedIdentity, SecurityEvent
from inventory.services import identities
from migration.key_choices import KEY_TRANSITIONS, KeyState
from migration.models import AuthorizationKey
from migration.services import authorization_keys
from migration.services.secrets_of_keys import digest
from tests.admin import given
from tests.migration.keys import key_in
from tests.support import OPERATOR, charger

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECRET = "a-secret-of-20-chars"
OTHER = "b-secret-of-20-chars"


def set_key(identity: ManagedIdentity, secret: str = SECRET, *, force: bool = False) -> AuthorizationKey:
    return authorization_keys.set_initial(
        identity=identity, secret=secret, actor=OPERATOR, reason="test", force=force, now=NOW
    )


def test_a_key_is_active_at_once_and_lifts_the_charger_to_profile_2() -> None:
    identity = charger("CS-1")

    key = set_key(identity)

    identity.refresh_from_db()
    assert (key.version, key.state, key.source, key.activated_at) == (1, "active", "set", NOW)
    assert identity.security_profile == 2
    event = DomainEvent.objects.get(type=EventType.AUTHORIZATION_KEY_ACTIVATED)
    assert (event.identity, event.actor, event.reason) == (identity, OPERATOR.name, "test")


def test_a_new_key_does_not_take_a_charger_back_from_profile_3() -> None:
    identity = charger("CS-1")
    given.active_record(identity)

    authorization_keys.set_initial(identity=identity, secret=SECRET, actor=OPERATOR, reason="test")

    identity.refresh_from_db()
    assert identity.security_profile == 3


def test_a_new_key_revokes_the_former_one_and_counts_on() -> None:
    identity = charger("CS-1")
    first = set_key(identity)
    second = set_key(identity, OTHER, force=True)

    first.refresh_from_db()
    assert (first.state, first.ended_at) == ("revoked", NOW)
    assert (second.version, second.state) == (2, "active")
    assert DomainEvent.objects.filter(type=EventType.AUTHORIZATION_KEY_REVOKED).count() == 1


def test_setting_the_same_key_again_changes_nothing() -> None:
    identity = charger("CS-1")

    assert set_key(identity).pk == set_key(identity).pk
    assert DomainEvent.objects.filter(type=EventType.AUTHORIZATION_KEY_ACTIVATED).count() == 1


@pytest.mark.parametrize("secret", ["x" * 15, "x" * 41, "schlüssel-mit-umlaut", "sixteen\tand-more-x", ""])
def test_what_is_no_key_is_refused_with_what_one_is(secret: str) -> None:
    with pytest.raises(InvalidInputError, match="has 16 to 40 printable ASCII characters") as refusal:
        set_key(charger("CS-1"), secret)
    assert not secret or secret not in str(refusal.value)


def test_only_chargers_have_keys() -> None:
    vehicle = identities.create(kind="vehicle", authoritative_identifier="WAUZZZ1", actor=OPERATOR, reason="test")

    with pytest.raises(InvalidInputError, match="Only chargers have AuthorizationKeys"):
        set_key(vehicle)


def test_a_key_that_another_charger_uses_cannot_be_set() -> None:
    set_key(charger("CS-1"))

    with pytest.raises(InvalidInputError, match="Another charger uses this AuthorizationKey"):
        set_key(charger("CS-2"))


def test_a_shared_key_is_imported_with_its_age_and_shown() -> None:
    set_key(charger("CS-1"))
    seen = NOW - timedelta(days=1)

    key = authorization_keys.import_existing(
        identity=charger("CS-2"),
        secret=SECRET,
        created_at=NOW - timedelta(days=900),
        last_success_at=seen,
        actor=OPERATOR,
        reason="test",
        now=NOW,
    )

    assert (key.source, key.created_at, key.last_success_at) == ("imported", NOW - timedelta(days=900), seen)
    event = SecurityEvent.objects.get(type="SharedAuthorizationKey")
    assert "CS-2 and CS-1 use the same AuthorizationKey" in event.message
    assert event.severity == "critical"


def test_a_revoked_key_is_refused_a_second_revocation() -> None:
    key = set_key(charger("CS-1"))
    authorization_keys.revoke(key=key, actor=OPERATOR, reason="leaked", force=True, now=NOW)

    key.refresh_from_db()
    assert (key.state, key.ended_at) == ("revoked", NOW)
    with pytest.raises(TransitionRefusedError, match="This key is revoked already"):
        authorization_keys.revoke(key=key, actor=OPERATOR, reason="leaked", now=NOW)


def test_every_change_needs_its_permission_and_a_reason() -> None:
    identity = charger("CS-1")
    person = Actor.person(User.objects.create_user("maria"))
    key = set_key(identity)

    with pytest.raises(NotPermittedError, match=r"the permission “migration\.set_authorizationkey” is missing"):
        authorization_keys.set_initial(identity=identity, secret=OTHER, actor=person, reason="test")
    with pytest.raises(NotPermittedError):
        authorization_keys.revoke(key=key, actor=person, reason="test")
    with pytest.raises(InvalidInputError, match="A reason is needed"):
        authorization_keys.set_initial(identity=identity, secret=OTHER, actor=OPERATOR, reason=" ")
    with pytest.raises(InvalidInputError, match="A reason is needed"):
        authorization_keys.revoke(key=key, actor=OPERATOR, reason="")
    key.refresh_from_db()
    assert key.state == "active"


def test_neither_the_secret_nor_its_digest_is_anywhere_but_in_its_own_column() -> None:
    identity = charger("CS-1")
    set_key(identity)
    authorization_keys.import_existing(identity=charger("CS-2"), secret=SECRET, actor=OPERATOR, reason="test", now=NOW)
    set_key(identity, OTHER, force=True)
    needles = {form for secret in (SECRET, OTHER) for form in (secret, secret.encode().hex(), digest(secret.encode()))}

    found = []
    with connection.cursor() as cursor:
        for model in apps.get_models(include_auto_created=True):
            table = model._meta.db_table
            cursor.execute(f'SELECT row_to_json(t)::text FROM "{table}" t')  # noqa: S608  # our own names
            found += [(table, needle) for (row,) in cursor.fetchall() for needle in needles if needle in row]

    assert {table for table, _ in found} == {"migration_authorizationkey"}
    assert {needle for _, needle in found} == {digest(SECRET.encode()), digest(OTHER.encode())}


def test_a_digest_is_keyed() -> None:
    import hashlib

    assert digest(SECRET.encode()) != hashlib.sha256(SECRET.encode()).hexdigest()
    assert digest(SECRET.encode()) == digest(SECRET.encode())


# -- held by the database --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["active", "pending"])
def test_a_charger_has_one_key_in_each_slot(state: str) -> None:
    identity = charger("CS-1")
    key_in(identity, state)

    with pytest.raises(IntegrityError, match=f"one_{state}_key"), transaction.atomic():
        key_in(identity, state)


def test_a_version_is_used_once() -> None:
    identity = charger("CS-1")
    key_in(identity, "revoked", version=1)

    with pytest.raises(IntegrityError, match="key_version_once"), transaction.atomic():
        key_in(identity, "active", version=1)


EVERY_MOVE = [(source, target) for source in KeyState.values for target in KeyState.values if source != target]


@pytest.mark.parametrize(("source", "target"), EVERY_MOVE)
def test_the_database_lets_a_key_take_the_steps_of_its_life_and_no_others(source: str, target: str) -> None:
    entry = key_in(charger("CS-1"), source)
    over = {"ended_at": NOW if target in ("retired", "revoked") else None}

    if target in KEY_TRANSITIONS[source]:
        assert AuthorizationKey.objects.filter(pk=entry.pk).update(state=target, **over) == 1
    else:
        with pytest.raises(IntegrityError, match=f"{source} to {target} is no transition"), transaction.atomic():
            AuthorizationKey.objects.filter(pk=entry.pk).update(state=target, **over)


def test_the_state_of_a_key_cannot_be_assigned() -> None:
    entry = key_in(charger("CS-1"), "pending")

    with pytest.raises(AttributeError, match="Direct state modification is not allowed"):
        entry.state = "active"
    entry.refresh_from_db()
    with pytest.raises(TransitionNotAllowed):
        entry.retire()


@pytest.mark.parametrize(("source", "state"), [("generated", "active"), ("set", "retiring"), ("imported", "revoked")])
def test_no_key_begins_in_the_middle_of_its_life(source: str, state: str) -> None:
    with pytest.raises(IntegrityError, match=f"that is {source} cannot begin as {state}"), transaction.atomic():
        AuthorizationKey.objects.bulk_create(
            [
                AuthorizationKey(
                    identity=charger("CS-1"), version=1, state=state, digest="0" * 64, source=source, created_at=NOW
                )
            ]
        )


def test_a_key_is_never_removed_and_its_secret_never_changes() -> None:
    entry = key_in(charger("CS-1"), "active")

    with pytest.raises(IntegrityError, match="is never removed"), transaction.atomic():
        AuthorizationKey.objects.filter(pk=entry.pk)._raw_delete("default")
    with pytest.raises(IntegrityError, match="secret and source never change"), transaction.atomic():
        AuthorizationKey.objects.filter(pk=entry.pk).update(digest="1" * 64)


def test_a_key_and_its_hexadecimal_form_are_the_same_key() -> None:
    set_key(charger("CS-1"), SECRET)

    with pytest.raises(InvalidInputError, match="Another charger uses this AuthorizationKey"):
        set_key(charger("CS-2"), SECRET.encode().hex().upper())
