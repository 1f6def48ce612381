"""Deleting what nobody needs any more: found by an index, in short transactions, past rows that somebody holds.

What one call deletes is bounded, so that a backlog is worked off over several calls and never holds up other work.
"""

from typing import Any, Final, LiteralString

from django.db import connection, transaction

ROWS_PER_TRANSACTION: Final = 1000
MOST_TRANSACTIONS: Final = 20


def purge(
    table: LiteralString, where: LiteralString, *values: Any, order: LiteralString, key: LiteralString = "id"
) -> int:
    """Delete the rows that meet a condition, `MOST_TRANSACTIONS` times `ROWS_PER_TRANSACTION` of them at most.

    :param where: the condition; each value stands as %s.
    :param order: the columns of the index by which the rows are found.
    :param key: the primary key.
    :returns: how many were deleted.
    """
    # An array, because a subquery in IN may be run more than once, and would then lock other rows each time.
    statement = (
        f"DELETE FROM {table} WHERE {key} = ANY(ARRAY("  # noqa: S608  # literals of our own
        f"SELECT {key} FROM {table} WHERE {where} ORDER BY {order} LIMIT %s FOR UPDATE SKIP LOCKED))"
    )
    deleted = 0
    for _ in range(MOST_TRANSACTIONS):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, [*values, ROWS_PER_TRANSACTION])
            deleted += cursor.rowcount
            if cursor.rowcount < ROWS_PER_TRANSACTION:
                break
    return deleted
