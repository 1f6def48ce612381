"""Given-parts of the tests of the doors: something of everything that moves chargers and their keys."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from uuid import uuid4

from django.db.models import Model

from inventory.audit import attributed
from inventory.models import (
    ManagedIdentity,
)
from migration.models import (
    AuthorizationKey,
    Blackout,
    Breaker,
    KeyRotation,
    KnownDefaultKey,
    MigrationCase,
    MigrationRollout,
    MigrationWindow,
    RecoveryDoor,
    Wave,
)
from migration.services import (
    authorization_keys,
    cases,
    known_defaults,
    recovery,
    rotation,
    secrets_of_keys,
    windows,
)
from migration.states import ReasonCode
from tests.migration.fleet import cohort
from tests.migration.rotating import family
from tests.support import OPERATOR, charger


def authorization_key(identity: ManagedIdentity) -> AuthorizationKey:
    return authorization_keys.set_initial(
        identity=identity, secret=f"secret-{uuid4().hex[:20]}", actor=OPERATOR, reason="given"
    )


def key_rotation(identity: ManagedIdentity) -> KeyRotation:
    """A new key on its way to a charger."""
    authorization_key(identity)
    key = rotation.rotate(identity=identity, actor=OPERATOR, reason="given")
    return KeyRotation.objects.get(key=key)


def known_default() -> KnownDefaultKey:
    secret = f"default-{uuid4().hex[:20]}"
    return known_defaults.add(label=uuid4().hex, secret=secret, actor=OPERATOR, reason="given")


def recovery_door(identity: ManagedIdentity) -> RecoveryDoor:
    """An open narrow door of a charger on Profile 3."""
    ManagedIdentity.objects.filter(pk=identity.pk).update(security_profile=3)
    return recovery.open_profile_2(
        identity=identity,
        cause="lost",
        secret=secrets_of_keys.generate(),
        until=datetime.now(UTC) + timedelta(days=1),
        actor=OPERATOR,
        reason="given",
        although_it_works=True,
    )


def migration_rollout() -> MigrationRollout:
    """A rollout that has not started."""
    rollout = MigrationRollout(name=f"Rollout {uuid4().hex[:6]}", reason="given", created_at=datetime.now(UTC))
    with attributed(OPERATOR, "given"):
        rollout.save()
    return rollout


def wave() -> Wave:
    """The first wave of a rollout."""
    made = Wave(rollout=migration_rollout(), position=1, cohort=cohort(f"Cohort {uuid4().hex[:6]}", []))
    with attributed(OPERATOR, "given"):
        made.save()
    return made


def migration_case(identity: ManagedIdentity) -> MigrationCase:
    """A charger that waits for its turn."""
    now = datetime.now(UTC)
    with attributed(OPERATOR, "given"):
        return cases.open_case(
            identity, wave=wave(), code=ReasonCode.WAVE_NOT_STARTED, why="Its wave has not started.", tries=1, now=now
        )


def breaker() -> Breaker:
    """A family that is stopped."""
    made = Breaker(
        kind="family",
        family=family(f"Family {uuid4().hex[:6]}"),
        rollout=migration_rollout(),
        failures=3,
        why="3 failed.",
        opened_at=datetime.now(UTC),
    )
    with attributed(OPERATOR, "given"):
        made.save()
    return made


def migration_window() -> MigrationWindow:
    """Hours of work at a site."""
    made = MigrationWindow(site=f"Site {uuid4().hex[:6]}", opens=time(22), closes=time(4), time_zone="Europe/Berlin")
    return windows.save(entry=made, actor=OPERATOR, reason="given")


def blackout() -> Blackout:
    """A day on which nothing is moved."""
    made = Blackout(site=f"Site {uuid4().hex[:6]}", first_day=date(2030, 12, 24), last_day=date(2030, 12, 26))
    return windows.save(entry=made, actor=OPERATOR, reason="given")


MAKERS: dict[type[Model], Callable[[], Model]] = {
    AuthorizationKey: lambda: authorization_key(charger()),
    KeyRotation: lambda: key_rotation(charger()),
    KnownDefaultKey: known_default,
    RecoveryDoor: lambda: recovery_door(charger()),
    MigrationRollout: migration_rollout,
    Wave: wave,
    MigrationCase: lambda: migration_case(charger()),
    Breaker: breaker,
    MigrationWindow: migration_window,
    Blackout: blackout,
}
"""How to make one of everything of this app that has a list."""
