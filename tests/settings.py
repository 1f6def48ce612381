"""Settings of the test suite: the real ones, in a folder and a PostgreSQL of this run's own.

The first process of a run makes the folder and starts the server; the workers of pytest-xdist inherit both by the
environment. Durability is switched off there, which changes speed and nothing that a test can see.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_FOLDER = "BFCERTS_VAR_DIRECTORY"

if "PYTEST_VERSION" in os.environ and "BFCERTS_TEST_RUN" not in os.environ:
    os.environ["BFCERTS_TEST_RUN"] = "1"
    os.environ[_FOLDER] = tempfile.mkdtemp(prefix="bfcerts-tests-")
    Path(os.environ[_FOLDER]).chmod(0o755)  # the embedded server may run under a user of its own
    atexit.register(shutil.rmtree, os.environ[_FOLDER], ignore_errors=True)

os.environ.setdefault("BFCERTS_SECRET_KEY", "test-web-and-worker-signing-key-0123456789abcdef")
os.environ.setdefault("BFCERTS_GATEWAY_KEY", "test-gateway-key-0123456789abcdef0123456789")
os.environ.setdefault("BFCERTS_CREDENTIAL_KEY", "test-credential-key-0123456789abcdef0123456")

from bfcerts.settings import *  # noqa: E402, F403  # the environment first; all settings
from bfcerts.settings import DATABASE_OPTIONS, DATABASES, VAR_DIRECTORY  # noqa: E402  # as above

STATIC_ROOT = VAR_DIRECTORY / "static"
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES["default"]["OPTIONS"] = {**DATABASE_OPTIONS, "options": "-c synchronous_commit=off"}
DATABASES["default"]["ENGINE"] = "tests.database"
