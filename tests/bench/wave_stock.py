"""Makes chargers that are ready to move to Profile 3, and starts their wave; run as a process of its own.

`ready` reads a JSON list of station ids and passwords, and writes the session of a console user. `start` moves them.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

import django

if TYPE_CHECKING:
    from inventory.models import ManagedIdentity

COHORT = "Bench"
PER_MINUTE = 1_500
"""The CA's 25 a second."""
MANY_AT_ONCE = 100_000


def ready(stations: Sequence[Sequence[str]]) -> str:
    """Chargers on Profile 2 with keys and anchors that are confirmed, and a user.

    :returns: the key of the user's session.
    """
    from django.db import transaction
    from django.utils import timezone

    from inventory.actors import Actor
    from inventory.models import ManagedIdentity
    from tests.migration.fleet import capable_family, cohort
    from tests.trustanchors.support import own_bundles
    from trustanchors.models import BundleInstallation
    from trustanchors.services import membership, releasing
    from trustanchors.services.releasing import Pace

    now = timezone.now()
    with transaction.atomic():
        family = capable_family("Bench", reconnects_by_itself=True)
        identities = ManagedIdentity.objects.bulk_create(
            ManagedIdentity(
                kind="charger", authoritative_identifier=name, serial_number=name, family=family, security_profile=2
            )
            for name, _ in stations
        )
        _give_keys(identities, [password for _, password in stations])
        members = cohort(COHORT, identities)
        releasing.release(
            bundles=own_bundles(now), cohort=members, pace=Pace(), actor=Actor.system("bench"), reason="Benchmark"
        )
        membership.take_in_members(now)
        installations = BundleInstallation.objects.all()
        installations.update(state="delivered", delivered_at=now)
        installations.update(state="installed", installed_at=now, checked_at=now, deadline=None, next_run_at=None)
    return _session()


def _give_keys(identities: "Sequence[ManagedIdentity]", passwords: Sequence[str]) -> None:
    from django.utils import timezone

    from migration.models import AuthorizationKey
    from migration.services.secrets_of_keys import digest

    now = timezone.now()
    made = AuthorizationKey.objects.bulk_create(
        AuthorizationKey(
            identity=identity,
            version=1,
            state="pending",
            digest=digest(password.encode()),
            source="generated",
            created_at=now,
        )
        for identity, password in zip(identities, passwords, strict=True)
    )
    AuthorizationKey.objects.filter(pk__in=[key.pk for key in made]).update(state="active", activated_at=now)


def _session() -> str:
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model

    user = get_user_model().objects.create_superuser("bench", "bench@example.net", "bench-bench-bench")
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return str(session.session_key)


def start() -> tuple[int, float]:
    """Plan and apply the migration of all of them.

    :returns: how many will move, and from which monotonic second on.
    """
    from django.utils import timezone

    from inventory.actors import Actor
    from inventory.services import plans

    actor, now = Actor.system("bench"), timezone.now()
    parameters = {"cohorts": [COHORT], "per_minute": PER_MINUTE, "concurrency": MANY_AT_ONCE}
    plan = plans.make(kind="migration", parameters=parameters, actor=actor, reason="Benchmark", now=now)
    plans.apply(plan=plan, digest=plan.digest, actor=actor, reason="Benchmark", now=now)
    plans.check(plan=plan, now=now)
    return plan.included, time.monotonic()


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bfcerts.settings")
    django.setup()
    json.dump(ready(json.load(sys.stdin)) if sys.argv[1] == "ready" else start(), sys.stdout)
