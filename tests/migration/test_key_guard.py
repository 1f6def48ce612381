"""No key that its charger may need ends by the way: neither by a set, an import, a revocation nor a late refusal."""

from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from inventory.actors import Actor
from inventory.errors import LastCredentialError, NotPermittedError, TransitionRefusedError
from inventory.models import ManagedIdentity
from inventory.services import actions
from migration.models import AuthorizationKey, KeyRotation
from migration.services import authorization_keys
from migration.services.secrets_of_keys import generate
from tests.admin import given
from tests.migration.rotating import FIRST, command_of, go_on, rotate, rotated, states, station
from tests.support import OPERATOR, ControlPlane, charger, restore_default_policies

pytestmark = pytest.mark.django_db


@pytest.fixture
def api(db: None) -> APIClient:
    restore_default_policies()
    return given.speaker(given.administrator())


def keeper(*permissions: str) -> Actor:
    user: User = given.person("keeper", *permissions)
    return Actor.person(user)


# -- the outbox's own repeats ----------------------------------------------------------------------------------------


def test_a_refusal_of_what_the_outbox_sent_again_by_itself_proves_nothing(plane: ControlPlane) -> None:
    made = station(plane, applies_after_restart=True)
    rotate(made)
    command = command_of(made)
    made.take(command)
    assert made.connect()
    plane.work()
    again = command_of(made)
    assert (again.pk, again.attempts) == (command.pk, 2)

    made.answer(again, "rejected")
    go_on(plane)

    assert states(made) == ["active", "pending"]
    assert KeyRotation.objects.get().may_be_stored
    made.restart()
    go_on(plane)
    assert made.is_connected
    assert states(made) == ["retiring", "active"]


# -- setting and revoking --------------------------------------------------------------------------------------------


def test_the_key_that_a_charger_comes_in_with_is_revoked_only_by_force(plane: ControlPlane) -> None:
    made = station(plane)
    key = AuthorizationKey.objects.get()

    with pytest.raises(LastCredentialError, match="CS-1 may have key 1 and no other way in"):
        authorization_keys.revoke(key=key, actor=OPERATOR, reason="x", now=plane.clock())
    assert made.connect()
    with pytest.raises(NotPermittedError, match=r"migration\.forcerevoke_authorizationkey"):
        authorization_keys.revoke(
            key=key,
            actor=keeper("migration.set_authorizationkey"),
            reason="x",
            force=True,
            now=plane.clock(),
        )
    authorization_keys.revoke(key=key, actor=OPERATOR, reason="x", force=True, now=plane.clock())
    assert states(made) == ["revoked"]


def test_a_key_that_is_in_use_is_replaced_only_by_force(plane: ControlPlane) -> None:
    made = station(plane)

    with pytest.raises(LastCredentialError, match="CS-1 may have key 1 and no other way in"):
        authorization_keys.set_initial(
            identity=made.identity, secret=generate(), actor=OPERATOR, reason="x", now=plane.clock()
        )
    assert states(made) == ["active"]
    assert made.is_connected
    authorization_keys.set_initial(
        identity=made.identity, secret=generate(), actor=OPERATOR, reason="x", force=True, now=plane.clock()
    )
    assert states(made) == ["revoked", "active"]


def test_setting_a_key_is_no_way_round_a_key_that_may_be_stored(plane: ControlPlane) -> None:
    made = rotated(plane)
    plane.work()
    someone = keeper("migration.set_authorizationkey")

    for force, refusal in ((False, LastCredentialError), (True, NotPermittedError)):
        with pytest.raises(refusal):
            authorization_keys.set_initial(
                identity=made.identity, secret=generate(), actor=someone, reason="x", force=force, now=plane.clock()
            )

    made.restart()
    assert made.is_connected


def test_the_former_key_ends_without_force_unless_the_charger_is_back_with_it(plane: ControlPlane) -> None:
    made = rotated(plane)
    made.restart()
    go_on(plane)
    former = AuthorizationKey.objects.get(state="retiring")
    plane.clock.advance(hours=1)
    made.password, made.former = made.former, made.password
    assert made.connect()

    with pytest.raises(LastCredentialError):
        authorization_keys.revoke(key=former, actor=OPERATOR, reason="x", now=plane.clock())
    plane.clock.advance(hours=1)
    made.password, made.former = made.former, made.password
    assert made.connect()
    authorization_keys.revoke(key=former, actor=OPERATOR, reason="x", now=plane.clock())

    assert states(made) == ["revoked", "active"]
    assert made.connect()


def test_a_key_of_a_charger_on_profile_3_ends_without_force() -> None:
    identity = charger("CS-1")
    key = authorization_keys.set_initial(identity=identity, secret=FIRST, actor=OPERATOR, reason="given")
    given.active_record(identity)

    authorization_keys.revoke(key=key, actor=OPERATOR, reason="x")

    assert AuthorizationKey.objects.get().state == "revoked"


# -- importing -------------------------------------------------------------------------------------------------------


def test_an_import_never_replaces_a_key_that_works(plane: ControlPlane, api: APIClient) -> None:
    made = station(plane)

    answer = api.post(
        "/api/v1/authorization-keys/import",
        {"identity": made.identity.pk, "secret": "a-stale-export-of-20+", "reason": "import"},
    )

    assert (answer.status_code, answer.json()["code"]) == (409, "transition_refused")
    assert "CS-1 has another key here, which an import never replaces" in answer.json()["detail"]
    assert states(made) == ["active"]
    assert made.is_connected
    assert made.connect()


def test_force_is_asked_for_over_the_api(plane: ControlPlane, api: APIClient) -> None:
    made = station(plane)
    body = {"identity": made.identity.pk, "secret": generate(), "reason": "leaked"}

    refused = api.post("/api/v1/authorization-keys", body)
    replaced = api.post("/api/v1/authorization-keys", {**body, "force": True})

    assert (refused.status_code, refused.json()["code"]) == (409, "last_working_credential")
    assert replaced.status_code == 201
    assert states(made) == ["revoked", "active"]


def test_a_locked_out_charger_is_given_no_key_that_opens_nothing() -> None:
    identity = charger("CS-1")
    ManagedIdentity.objects.filter(pk=identity.pk).update(security_profile=3)

    with pytest.raises(TransitionRefusedError, match=r"CS-1: It is locked out.*Open a narrow door"):
        authorization_keys.set_initial(identity=identity, secret=FIRST, actor=OPERATOR, reason="x")

    assert not AuthorizationKey.objects.exists()


def test_setting_a_key_is_not_offered_where_no_password_opens_the_door() -> None:
    identity = charger("CS-1")
    locked_out = charger("CS-2")
    ManagedIdentity.objects.filter(pk=locked_out.pk).update(security_profile=3)
    locked_out.refresh_from_db()
    now = datetime.now(UTC)

    (here,), (there,) = (
        [action for action in actions.for_identity(who, OPERATOR, now) if action.verb == "set_password"]
        for who in (identity, locked_out)
    )

    assert here.allowed
    assert "thrown off at once" in here.explanation
    assert not there.allowed
    assert "Open a narrow door" in there.why_not
    assert "is let in" not in there.explanation
