"""`manage.py setbacks`: work that was set aside, and having it tried again, with the same checks as admin and API."""

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from inventory.actors import Actor
from inventory.errors import InventoryError
from inventory.models import Setback
from inventory.services import setback_actions


class Command(BaseCommand):
    help = "List what of the recurring duties failed and waits for its next try; `try NUMBER` has one tried again now."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("verb", nargs="?", default="list", choices=["list", "try"])
        parser.add_argument("number", nargs="?", default="", help="which one, by its number in the list")
        parser.add_argument(
            "--as", dest="user", required=True, metavar="USER", help="who does it; their permissions count"
        )
        parser.add_argument("--reason", default="", help="why, for the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']!r}; name one with --as.")
        actor = Actor.person(user)
        try:
            if options["verb"] == "try":
                self._try(options, actor)
            else:
                self._list(actor)
        except InventoryError as error:
            raise CommandError(str(error)) from None

    def _list(self, actor: Actor) -> None:
        actor.require("inventory.view_setback")
        nothing = True
        for setback in Setback.objects.select_related("identity").order_by("pk").iterator(chunk_size=1_000):
            nothing = False
            of = f" of {setback.identity.authoritative_identifier}" if setback.identity else ""
            self.stdout.write(
                f"{setback.pk:>6}  {setback_actions.name_of(setback)}{of}, tried again from "
                f"{setback.until:%Y-%m-%d %H:%M:%S} UTC on: {setback.error}"
            )
        if nothing:
            self.stdout.write("Nothing is set aside.")

    def _try(self, options: dict[str, Any], actor: Actor) -> None:
        text = options["number"]
        setback = Setback.objects.filter(pk=int(text)).first() if text.isdecimal() and len(text) < 19 else None
        if setback is None:
            raise CommandError(f"Nothing is set aside with the number {text!r}; manage.py setbacks lists what is.")
        setback_actions.try_now(setback=setback, actor=actor, reason=options["reason"], now=timezone.now())
        self.stdout.write(f"{setback_actions.name_of(setback)} is tried again as soon as a worker comes to it.")
