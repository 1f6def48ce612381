"""`manage.py import_authorization_keys`: take over a fleet's keys from a CSV file; without --apply only look at it."""

import sys
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from inventory.actors import Actor
from inventory.errors import InventoryError
from inventory.words import agreeing, counted
from migration.services import key_import

MOST_SHOWN = 1_000


class Command(BaseCommand):
    help = (
        "Take over the AuthorizationKeys that chargers use already. The file has the columns charger, secret, "
        "created_at and last_success_at; the last two may be left out. Without --apply nothing is changed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="a CSV file in UTF-8, or - for standard input")
        parser.add_argument("--as", dest="user", required=True, metavar="USER", help="whose permissions count")
        parser.add_argument("--reason", default="", help="why, for the audit trail; needed with --apply")
        parser.add_argument("--apply", action="store_true", help="import, instead of only looking")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']!r}; name one with --as.")
        actor, text = Actor.person(user), _text(options["file"])
        try:
            if options["apply"]:
                outcome = key_import.run(text=text, actor=actor, reason=options["reason"], progress=self._progress)
            else:
                outcome = key_import.dry_run(text=text, actor=actor)
        except InventoryError as error:
            raise CommandError(str(error)) from None
        for problem in outcome.problems[:MOST_SHOWN]:
            self.stderr.write(str(problem))
        if outcome.problems:
            raise CommandError(f"{len(outcome.problems)} problems; nothing was imported. Correct the file.")
        verb = "imported" if options["apply"] else "would be imported"
        self.stdout.write(
            f"{counted(outcome.lines, 'line')}: {counted(outcome.new, 'key')} {verb}, {outcome.unchanged} "
            f"{agreeing(outcome.unchanged, 'is', 'are')} there already, {outcome.shared} "
            f"{agreeing(outcome.shared, 'is', 'are')} shared with another charger."
        )

    def _progress(self, done: int) -> None:
        self.stderr.write(f"{done} lines", ending="\r" if self.stderr.isatty() else "\n")


def _text(name: str) -> str:
    try:
        data = sys.stdin.buffer.read(key_import.LONGEST_FILE + 1) if name == "-" else _bytes(Path(name))
        return data.decode("utf-8")
    except OSError as error:
        raise CommandError(f"The file {name} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise CommandError(f"The file {name} is not UTF-8; save it so.") from None


def _bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(key_import.LONGEST_FILE + 1)
