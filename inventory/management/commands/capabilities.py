"""`manage.py capabilities`: the capability matrix out of and into a CSV file."""

from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from inventory.actors import Actor
from inventory.errors import InventoryError
from inventory.services import capability_files
from inventory.words import counted

LARGEST_FILE = 10_000_000
"""Bytes."""


class Command(BaseCommand):
    help = (
        "export writes what is known of every family as CSV. import reads such a file and tells what it would change "
        "and what is wrong with it; with --apply it stores that, all or nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("verb", choices=["export", "import"])
        parser.add_argument("file", type=Path, nargs="?", help="the file; export writes to the terminal without one")
        parser.add_argument("--apply", action="store_true", help="store what the file declares")
        parser.add_argument("--as", dest="user", metavar="USER", help="who does it; their permissions count")
        parser.add_argument("--reason", default="", help="why, for the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["verb"] == "export":
                self._export(options["file"])
            else:
                self._import(options)
        except InventoryError as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"{options['file']}: {error.strerror}.") from None

    def _export(self, file: Path | None) -> None:
        if file is None:
            for line in capability_files.export():
                self.stdout.write(line, ending="")
            return
        with file.open("w", encoding="utf-8", newline="") as out:
            out.writelines(capability_files.export())

    def _import(self, options: dict[str, Any]) -> None:
        file: Path | None = options["file"]
        if file is None:
            raise CommandError("Name the file to import.")
        with file.open("rb") as stored:
            raw = stored.read(LARGEST_FILE + 1)
        if len(raw) > LARGEST_FILE:
            raise CommandError(f"{file} is larger than {LARGEST_FILE:,} bytes; make two files of it.")
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise CommandError(f"{file} is not UTF-8; save it as CSV in UTF-8.") from None
        now = timezone.now()
        if not options["apply"]:
            self._tell(capability_files.read(text, now))
            self.stdout.write("Nothing was stored. To do it, add --apply, --as USER and --reason WHY.")
            return
        user = User.objects.filter(username=options["user"] or "").first()
        if user is None:
            raise CommandError(f"There is no user {options['user'] or ''!r}; name one with --as.")
        actor = Actor.person(user)
        self._tell(capability_files.take_in(text=text, actor=actor, reason=options["reason"], now=now))
        self.stdout.write("Stored.")

    def _tell(self, reading: capability_files.Reading) -> None:
        for line in reading.changes:
            self.stdout.write(str(line))
        for error in reading.errors:
            self.stderr.write(error)
        self.stdout.write(
            f"{counted(len(reading.changes), 'change')}, {reading.unchanged} unchanged, "
            f"{counted(len(reading.errors), 'wrong line')}."
        )
