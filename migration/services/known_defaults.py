"""The list of vendors' default keys: operators enter them, and nobody can read them again."""

from datetime import datetime
from typing import Final

from django.utils import timezone

from inventory.actors import Actor
from inventory.errors import InvalidInputError
from inventory.services.command import command
from migration.models import KnownDefaultKey
from migration.services.secrets_of_keys import checked, digest_of

MOST: Final = 10_000


def add(*, label: str, secret: str, actor: Actor, reason: str, now: datetime | None = None) -> KnownDefaultKey:
    """Take a vendor's default key into the list; chargers that use it are told of within an hour.

    :raises InvalidInputError: when it is no key, in the list already, or the list is full.
    """
    with command(actor, "migration.add_knowndefaultkey", reason):
        name, stored = label.strip(), digest_of(checked(secret))
        if not 0 < len(name) <= 120:
            raise InvalidInputError("A default key needs a label of at most 120 characters: whose it is.")
        if KnownDefaultKey.objects.filter(label=name).exists():
            raise InvalidInputError(f"There is a default key “{name}” already; use another label.")
        same = KnownDefaultKey.objects.filter(digest=stored).first()
        if same is not None:
            raise InvalidInputError(f"This key is in the list already, as “{same.label}”.")
        if KnownDefaultKey.objects.count() >= MOST:
            raise InvalidInputError(f"The list holds {MOST:,} default keys at most; remove what is no longer found.")
        entry = KnownDefaultKey(label=name, digest=stored, created_at=now or timezone.now())
        entry.save()
    return entry


def remove(*, entry: KnownDefaultKey, actor: Actor, reason: str) -> None:
    """Take a key off the list."""
    with command(actor, "migration.delete_knowndefaultkey", reason):
        KnownDefaultKey.objects.get(pk=entry.pk).delete()
