"""The real `manage.py pki_worker` beside this process, which has the database but not its key."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connection
from django_q import core_signing
from django_q.models import OrmQ, Schedule
from django_q.signing import PickleSerializer

from bfcerts.configuration import BASE_DIRECTORY
from inventory.choices import RecordState
from inventory.models import CertificateRecord, QueueBeat
from inventory.services import lifecycle
from tests.support import OPERATOR, charger, request_for, restore_default_policies, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

PKI_KEY = "the signing key that only the pki process knows 0123456789"


def environment(tmp_path: Path) -> dict[str, str]:
    database = connection.settings_dict
    url = f"postgresql://{quote(database['USER'])}@/{database['NAME']}?host={quote(database['HOST'], safe='')}"
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "BFCERTS_"))}
    return {
        **own,
        "DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "bfcerts.settings",
        "BFCERTS_PROCESS": "pki",
        "BFCERTS_VAR_DIRECTORY": str(tmp_path / "var"),
        "BFCERTS_PKI_SECRET_KEY": PKI_KEY,
        "BFCERTS_LOCAL_CA_KEY": "the secret that the local CA's keys are encrypted under",
        "BFCERTS_LOCAL_CA_ALLOWED": "true",
    }


@pytest.fixture
def pki_worker(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    restore_default_policies()
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "pki_worker"],
            cwd=BASE_DIRECTORY,
            env=environment(tmp_path),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(
            lambda: process.poll() is not None or QueueBeat.objects.filter(queue="pki").exists(), "the worker to beat"
        )
        assert process.poll() is None, (tmp_path / "output").read_text()
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def task_that_touches(path: Path) -> dict[str, Any]:
    """A task as django-q2 stores it."""
    return {
        "id": uuid.uuid4().hex,
        "name": "hostile",
        "func": "pathlib.Path.touch",
        "args": (path,),
        "kwargs": {},
        "started": datetime.now(UTC),
    }


def put_into_the_pki_queue(task: dict[str, Any], key: str) -> OrmQ:
    payload = core_signing.dumps(task, key=key, salt="pki", serializer=PickleSerializer)
    row: OrmQ = OrmQ.objects.create(key="pki", payload=payload, lock=datetime.now(UTC) - timedelta(minutes=1))
    return row


def gone(row: OrmQ) -> bool:
    return not OrmQ.objects.filter(pk=row.pk).exists()


def beats() -> datetime:
    return QueueBeat.objects.get(queue="pki").beat_at


def test_the_worker_issues_what_the_job_table_holds_and_runs_nothing_that_others_enqueued(
    pki_worker: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    hostile, scheduled, control = tmp_path / "hostile", tmp_path / "scheduled", tmp_path / "control"
    Schedule.objects.create(
        name="hostile",
        func="pathlib.Path.touch",
        args=repr((str(scheduled),)),
        cluster="pki",
        schedule_type=Schedule.ONCE,
        next_run=datetime.now(UTC) - timedelta(minutes=1),
    )
    refused = put_into_the_pki_queue(task_that_touches(hostile), settings.SECRET_KEY)
    before = beats()
    lifecycle.issue(
        identity=charger("CS-1"),
        purpose="charger_identity",
        csr_pem=request_for("CS-1"),
        actor=OPERATOR,
        reason="test",
    )

    wait_until(lambda: CertificateRecord.objects.get().state == RecordState.ISSUED, "the certificate")
    wait_until(lambda: gone(refused), "the worker to drop the task that it did not sign")
    # The very same task under the worker's own key runs: what kept it from running before was the key alone.
    put_into_the_pki_queue(task_that_touches(control), PKI_KEY)
    wait_until(control.exists, "the task under the worker's own key")
    wait_until(lambda: beats() > before, "the next pulse")

    assert not hostile.exists()
    assert not scheduled.exists()
    assert Schedule.objects.get().next_run < datetime.now(UTC)
    assert pki_worker.poll() is None


def test_the_pki_process_has_no_scheduler_whatever_the_schedule_table_says(tmp_path: Path) -> None:
    printed = subprocess.run(
        [
            sys.executable,
            "-c",
            "import django; django.setup(); from django_q.conf import Conf; print(Conf.SCHEDULER, Conf.PREFIX)",
        ],
        cwd=BASE_DIRECTORY,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert printed.stdout.split() == ["False", "pki"]


def test_the_worker_refuses_to_start_outside_of_the_pki_environment(tmp_path: Path) -> None:
    web = {name: value for name, value in environment(tmp_path).items() if "PKI" not in name and "CA_KEY" not in name}

    answer = subprocess.run(
        [sys.executable, "manage.py", "pki_worker"],
        cwd=BASE_DIRECTORY,
        env={**web, "BFCERTS_PROCESS": "worker", "BFCERTS_SECRET_KEY": "w" * 50, "BFCERTS_CREDENTIAL_KEY": "c" * 50},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert answer.returncode != 0
    assert "runs with BFCERTS_PROCESS=pki" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_without_the_ca_key_the_worker_stops_with_one_sentence(tmp_path: Path) -> None:
    keyless = {name: value for name, value in environment(tmp_path).items() if name != "BFCERTS_LOCAL_CA_KEY"}

    answer = subprocess.run(
        [sys.executable, "manage.py", "pki_worker"],
        cwd=BASE_DIRECTORY,
        env=keyless,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        start_new_session=True,
    )

    assert answer.returncode != 0
    assert "set BFCERTS_LOCAL_CA_KEY for the PKI process" in answer.stderr
    assert "Traceback" not in answer.stderr
