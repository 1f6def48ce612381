"""`manage.py forecast`: who could not reconnect after a change, with the same service as the console and the API."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from inventory.actors import Actor
from inventory.errors import InventoryError
from inventory.models import Cohort
from inventory.words import counted
from migration.services import forecast
from trustanchors.services import bundles, server_certificates

LONGEST = 262_144
"""Characters of a chain."""


class Command(BaseCommand):
    help = (
        "Exactly which chargers could not reconnect after a change, and on what evidence: `server-certificate FILE` "
        "(the chain that our listeners would present, in PEM), `withdrawal BUNDLE` (by its number or its name, if what "
        "connections rest on is deleted too) or `cut-over COHORT`. Nothing is changed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("change", choices=sorted(_CHANGES))
        parser.add_argument("subject", help="a file, a bundle by its number or its name, or the name of a cohort")
        parser.add_argument("--as", dest="user", required=True, metavar="USER", help="who asks; permissions count")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']!r}; name one with --as.")
        try:
            Actor.person(user).require(forecast.VIEW)
            locked_out = forecast.predict(_CHANGES[options["change"]](options["subject"]), timezone.now())
        except InventoryError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{counted(len(locked_out), 'charger')} could not reconnect.")
        for item in locked_out:
            self.stdout.write(f"  {item.sentence}")


def _server_certificate(subject: str) -> forecast.Change:
    try:
        with Path(subject).open(encoding="ascii", errors="replace") as file:
            return server_certificates.change_to(file.read(LONGEST))
    except OSError as error:
        raise CommandError(f"{subject} cannot be read: {error.strerror}. Name a file in PEM.") from None


def _withdrawal(subject: str) -> forecast.Change:
    return forecast.AnchorWithdrawal(bundles.named(subject))


def _cut_over(subject: str) -> forecast.Change:
    cohort = Cohort.objects.filter(name=subject).first()
    if cohort is None:
        raise CommandError(f"There is no cohort {subject!r}; name one.")
    return forecast.CutOver(list(cohort.identities()), certificates_to_come=True)


_CHANGES: dict[str, Callable[[str], forecast.Change]] = {
    "server-certificate": _server_certificate,
    "withdrawal": _withdrawal,
    "cut-over": _cut_over,
}
