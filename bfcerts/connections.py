"""PostgreSQL connections beside Django's own, for listening: to the same server, by the same settings."""

from typing import Any, Final

from django.db import connection

_MEANT_FOR_DJANGO: Final = {"context", "cursor_factory", "prepare_threshold"}


def connection_parameters(application_name: str) -> dict[str, Any]:
    """What psycopg needs to connect as Django does: address, credentials, TLS and every option of `DATABASE_URL`.

    A connection that only listens says nothing for hours, so it is kept alive, and a server that is away is given up
    after some seconds; what the URL says about either wins.

    :param application_name: as the server's list of connections shows it.
    """
    parameters = connection.get_connection_params()
    return {
        "connect_timeout": 5,
        "keepalives_idle": 15,
        **{name: value for name, value in parameters.items() if name not in _MEANT_FOR_DJANGO},
        "application_name": application_name,
    }
