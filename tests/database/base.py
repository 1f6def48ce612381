"""The one difference: the flush between tests says that it means to empty what is append-only.

It says so for its own transaction alone, so that the guards stand while a test runs. Nothing but this suite uses it.
"""

from typing import Any

from django.db.backends.postgresql import base
from django.db.backends.postgresql.operations import DatabaseOperations as PostgresqlOperations


class DatabaseOperations(PostgresqlOperations):
    """Allows the truncation that a flush consists of, until its transaction ends."""

    def sql_flush(self, *args: Any, **options: Any) -> list[str]:
        """The statements of a flush, which Django runs in one transaction."""
        return ["SET LOCAL bfcerts.truncation = 'allowed'", *super().sql_flush(*args, **options)]


class DatabaseWrapper(base.DatabaseWrapper):
    """What the setting ENGINE asks for."""

    ops_class = DatabaseOperations
