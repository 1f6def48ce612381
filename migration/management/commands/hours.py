"""`manage.py hours`: when work may be done, from the command line, with the same checks as console and API."""

import json
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from inventory.actors import Actor
from inventory.errors import InventoryError
from migration.models import Blackout, MigrationWindow
from migration.services import windows

KINDS: dict[str, type[MigrationWindow] | type[Blackout]] = {"window": MigrationWindow, "blackout": Blackout}
FIELDS = {
    "window": ("site", "weekdays", "opens", "closes", "time_zone", "enabled"),
    "blackout": ("site", "first_day", "last_day", "time_zone", "note", "enabled"),
}
_WORDS = {"yes": True, "true": True, "no": False, "false": False}


class Command(BaseCommand):
    help = (
        "Hours of work and days without any: “list”, “add window”, “add blackout”, “change window NUMBER” and “change "
        "blackout NUMBER”, each with --set NAME=VALUE. Nothing is deleted; --set enabled=no switches one off."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("verb", choices=["list", "add", "change"])
        parser.add_argument("kind", nargs="?", choices=[*KINDS], help="hours of a day, or days without work")
        parser.add_argument("number", nargs="?", type=int, help="which one to change, as “list” numbers them")
        parser.add_argument(
            "--set",
            dest="values",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="as opens=22:00, weekdays=1,2,3, first_day=2030-12-24 or enabled=no; repeat it",
        )
        parser.add_argument("--as", dest="user", metavar="USER", help="who does it; their permissions count")
        parser.add_argument("--reason", default="", help="why, for the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["verb"] == "list":
            self._list()
            return
        user = User.objects.filter(username=options["user"] or "").first()
        if user is None:
            raise CommandError(f"There is no user {options['user'] or ''!r}; name one with --as.")
        kind = options["kind"]
        if kind is None:
            raise CommandError(f"Say what to {options['verb']}: {' or '.join(KINDS)}.")
        entry = KINDS[kind]() if options["verb"] == "add" else _entry(kind, options["number"])
        for name, value in _values(kind, options["values"]).items():
            setattr(entry, name, value)
        try:
            saved = windows.save(entry=entry, actor=Actor.person(user), reason=options["reason"])
        except InventoryError as error:
            raise CommandError(str(error)) from None
        except ValidationError as error:
            raise CommandError(_in_words(error)) from None
        self._show(kind, saved)

    def _list(self) -> None:
        for kind, model in KINDS.items():
            for entry in model._default_manager.all():
                self._show(kind, entry)

    def _show(self, kind: str, entry: MigrationWindow | Blackout) -> None:
        off = "" if entry.enabled else " (switched off)"
        days = f", on days {','.join(map(str, entry.weekdays))}" if isinstance(entry, MigrationWindow) else ""
        self.stdout.write(f"{kind} {entry.pk}: {entry}{days}{off}")


def _entry(kind: str, number: int | None) -> MigrationWindow | Blackout:
    found = KINDS[kind]._default_manager.filter(pk=number).first() if number is not None else None
    if found is None:
        raise CommandError(f"There is no {kind} {number or ''}; manage.py hours list numbers them.")
    return found


def _values(kind: str, given: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for item in given:
        name, separator, text = item.partition("=")
        if not separator or name not in FIELDS[kind]:
            raise CommandError(f"--set {item}: write NAME=VALUE, with one of {', '.join(FIELDS[kind])}.")
        match name:
            case "weekdays":
                # The form in which the field reads what people write, and says what is wrong with it.
                values[name] = json.dumps([day.strip() for day in text.split(",")])
            case "enabled":
                values[name] = _WORDS.get(text.strip().lower(), text)
            case _:
                values[name] = text
    return values


def _in_words(error: ValidationError) -> str:
    """What is wrong, with what."""
    if hasattr(error, "error_dict"):
        return " ".join(
            f"{name}: {message}" if name != "__all__" else message
            for name, messages in error.message_dict.items()
            for message in messages
        )
    return " ".join(error.messages)
