"""`manage.py gateway` as a process: started, stopped, killed, and refused with one sentence."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from django.conf import settings
from django.db import connection

from bfcerts.ocpp.gateway import node
from bfcerts.ocpp.models import GatewayNode
from tests.ocpp.node import DEADLINE_SECONDS, eventually

pytestmark = pytest.mark.django_db(transaction=True)

COMMAND = [sys.executable, str(Path(settings.BASE_DIRECTORY) / "manage.py"), "gateway"]


def environment(**changes: str | None) -> dict[str, str]:
    """That of a production gateway against this test's database."""
    database = connection.settings_dict
    host = urlencode({"host": database["HOST"], "port": database["PORT"] or "5432"})
    user = f"{quote(database['USER'])}:{quote(database['PASSWORD'])}"
    values = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "DJANGO"))},
        "DJANGO_SETTINGS_MODULE": "bfcerts.settings",
        "DATABASE_URL": f"postgresql://{user}@/{quote(database['NAME'])}?{host}",
        "BFCERTS_PROCESS": "gateway",
        "BFCERTS_GATEWAY_NODE": "node-x",
        "BFCERTS_GATEWAY_PROFILE2_PORT": "0",
        "BFCERTS_GATEWAY_PROFILE3_PORT": "0",
        "BFCERTS_GATEWAY_DUAL_PORT": "0",
        **changes,
    }
    return {name: value for name, value in values.items() if value is not None}


@contextmanager
def gateway(log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as output:
        process = subprocess.Popen(COMMAND, env=environment(), stderr=output)
    try:
        eventually(lambda: process.poll() is not None or GatewayNode.objects.filter(name="node-x").exists())
        yield process
    finally:
        process.kill()
        process.wait(DEADLINE_SECONDS)


def test_it_runs_until_it_is_told_to_stop_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with gateway(tmp_path / "log") as process:
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE_SECONDS)
    said = (tmp_path / "log").read_text()
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert not GatewayNode.objects.exists()


def test_what_a_killed_process_left_is_cleared_up_by_another(tmp_path: Path) -> None:
    with gateway(tmp_path / "log") as process:
        process.kill()
    assert GatewayNode.objects.filter(name="node-x").exists()
    node.reap(datetime.now(UTC) + 2 * node.SILENCE)
    assert not GatewayNode.objects.exists()


@pytest.mark.parametrize("name", ["BFCERTS_GATEWAY_KEY", "BFCERTS_CREDENTIAL_KEY"])
def test_without_a_key_it_says_which(name: str) -> None:
    done = subprocess.run(
        COMMAND, env=environment(**{name: None}), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert name in done.stderr
    assert "Traceback" not in done.stderr
