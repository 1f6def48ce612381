"""The installation of one run: a temp folder, an embedded PostgreSQL in it, and a database with all tables.

This process becomes a command of it, so nothing here imports a model before that.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import django


def set_up() -> Path:
    """
    :returns: the folder, which goes away with this process and everything in it.
    """
    folder = Path(tempfile.mkdtemp(prefix="bfcerts-bench-"))
    folder.chmod(0o755)  # the embedded server may run under a user of its own
    # Registered before the server is started, so it runs when the server has been stopped.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _become_command_of(folder)
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0, interactive=False)
    connection.close()
    return folder


def _become_command_of(folder: Path) -> None:
    for name in [name for name in os.environ if name.startswith("BFCERTS_") or name == "DATABASE_URL"]:
        del os.environ[name]
    os.environ["BFCERTS_VAR_DIRECTORY"] = str(folder)
    os.environ["BFCERTS_LOG_LEVEL"] = "WARNING"
    os.environ["DJANGO_SETTINGS_MODULE"] = "bfcerts.settings"
    django.setup()
