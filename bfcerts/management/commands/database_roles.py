"""`manage.py database_roles`: the SQL of narrow database roles, one for each process; printed, or applied."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from bfcerts import database_roles
from bfcerts.setting_kinds import Process


class Command(BaseCommand):
    help = "Print the SQL that makes a database role for each process, with the least that it needs; or apply it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--prefix", default="bfcerts", help="begins the roles' names (default: bfcerts)")
        parser.add_argument("--apply", action="store_true", help="run it now, as the owner of the tables")

    def handle(self, *args: Any, **options: Any) -> None:
        prefix: str = options["prefix"]
        longest = 63 - len(database_roles.role_name("", Process.GATEWAY)) - len("_changes")
        if not prefix.isidentifier() or len(prefix) > longest:
            raise CommandError(f"The prefix is a name of letters, digits and underscores, {longest} at most.")
        if not options["apply"]:
            for statement in database_roles.statements(prefix):
                self.stdout.write(f"{statement};")
            return
        try:
            database_roles.apply(prefix)
        except DatabaseError as error:
            raise CommandError(
                f"The roles could not be made: {str(error).strip().splitlines()[0]}. Run migrate first, and this as "
                "the owner of the tables with the right to make roles (CREATEROLE)."
            ) from None
        names = ", ".join(database_roles.role_name(prefix, process) for process in database_roles.PROCESSES)
        self.stdout.write(f"The roles {names} are up to date. Grant each to the user that its process signs in as.")
