"""A bad setting stops start-up with one sentence that names it, an exit code, and no traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bfcerts.configuration import BASE_DIRECTORY, Configuration

DATABASE = "postgresql://nobody@127.0.0.1:1/none"


def check(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, "manage.py", "check"], tmp_path, **environment)


def run(command: list[str], tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    foreign = ("PYTEST", "BFCERTS_", "DATABASE")
    own = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return subprocess.run(
        command,
        cwd=BASE_DIRECTORY,
        env={
            **own,
            "DJANGO_SETTINGS_MODULE": "bfcerts.settings",
            "BFCERTS_VAR_DIRECTORY": str(tmp_path),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        (
            {"BFCERTS_PROCESS": "wbe"},
            "BFCERTS_PROCESS: it has to be one of 'web', 'gateway', 'worker', 'pki' or 'command', and is “wbe”",
        ),
        ({"BFCERTS_WEB_PORT": "http"}, "BFCERTS_WEB_PORT: it has to be a whole number, and is “http”"),
        (
            {"BFCERTS_GATEWAY_PROFILE3_PORT": "70000"},
            "BFCERTS_GATEWAY_PROFILE3_PORT: it has to be 65535 or less, and is “70000”",
        ),
        ({"BFCERTS_JOB_LEASE_SECONDS": "0"}, "BFCERTS_JOB_LEASE_SECONDS: it has to be "),
        ({"DATABASE_URL": "mysql://u@h/d", "BFCERTS_SECRET_KEY": "x" * 50}, "PostgreSQL is the only engine supported"),
        ({"DATABASE_URL": DATABASE}, "BFCERTS_SECRET_KEY is required with DATABASE_URL"),
        *(
            (
                {"DATABASE_URL": DATABASE, "BFCERTS_SECRET_KEY": "x" * 50, "BFCERTS_PROCESS": process},
                f"the {process} process needs BFCERTS_CREDENTIAL_KEY with DATABASE_URL",
            )
            for process in ("web", "gateway", "worker")
        ),
        (
            {f"BFCERTS_GATEWAY_{name}_PORT": "off" for name in ("PROFILE2", "PROFILE3", "DUAL")},
            "all listeners of the gateway are off",
        ),
        (
            {"BFCERTS_GATEWAY_PROFILE3_PORT": "", "BFCERTS_GATEWAY_DUAL_PORT": "Off"},
            "no listener takes client certificates; set BFCERTS_GATEWAY_PROFILE3_URL",
        ),
        ({"BFCERTS_KEEP_MESSAGES_DAYS": "0"}, "BFCERTS_KEEP_MESSAGES_DAYS: "),
        ({"DATABASE_URL": DATABASE, "BFCERTS_PROCESS": "pki"}, "the pki process needs BFCERTS_PKI_SECRET_KEY"),
        ({"BFCERTS_LOCAL_CA_KEY": "k" * 40}, "the command process was given the PKI process's secrets"),
        (
            {"BFCERTS_PROCESS": "worker", "BFCERTS_EST_CREDENTIALS": "{}"},
            "the worker process was given BFCERTS_EST_CREDENTIALS; only the PKI process enrols with schemes",
        ),
        ({"BFCERTS_QUEUE_BROKER": "sqs"}, "BFCERTS_QUEUE_BROKER=sqs needs BFCERTS_SQS_REGION"),
        (
            {
                "BFCERTS_PROCESS": "pki",
                "BFCERTS_PKI_SECRET_KEY": "k" * 50,
                "BFCERTS_AUTHORITY": "aws_private_ca",
                "BFCERTS_AWS_PRIVATE_CA_ARNS": "charger_identity",
            },
            "must be trust_domain=arn:… pairs, comma-separated",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_bad_value_stops_start_up_with_one_sentence(
    tmp_path: Path, environment: dict[str, str], sentence: str
) -> None:
    answer = check(tmp_path, **environment)

    assert answer.returncode == 1
    assert answer.stderr.startswith("Configuration: ")
    assert sentence in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1
    assert "Traceback" not in answer.stderr
    assert not answer.stdout
    secrets = {value for name, value in environment.items() if name.endswith("_KEY")}
    assert not {secret for secret in secrets if secret in answer.stderr}


def test_several_bad_values_are_told_at_once(tmp_path: Path) -> None:
    answer = check(tmp_path, BFCERTS_WEB_PORT="http", BFCERTS_WORKER_PROCESSES="0")

    assert answer.returncode == 1
    assert "BFCERTS_WEB_PORT: " in answer.stderr
    assert "; BFCERTS_WORKER_PROCESSES: " in answer.stderr


def test_good_values_start(tmp_path: Path) -> None:
    answer = check(
        tmp_path,
        DATABASE_URL=DATABASE,
        BFCERTS_SECRET_KEY="x" * 50,
        BFCERTS_CREDENTIAL_KEY="y" * 50,
        BFCERTS_PROCESS="web",
    )

    assert answer.returncode == 0, answer.stderr
    assert not (tmp_path / "secrets").exists(), "no process makes up a secret that others have to share"


def test_the_pki_process_and_commands_need_no_credential_key(tmp_path: Path) -> None:
    own = {"pki": {"BFCERTS_PKI_SECRET_KEY": "k" * 50}, "command": {"BFCERTS_SECRET_KEY": "x" * 50}}
    for process, secret in own.items():
        answer = check(tmp_path, DATABASE_URL=DATABASE, BFCERTS_PROCESS=process, **secret)

        assert answer.returncode == 0, answer.stderr


def test_a_listener_is_switched_off_by_an_empty_value_or_by_a_word() -> None:
    configuration = Configuration.model_validate(
        {"gateway_profile2_port": "", "gateway_profile3_port": "off", "gateway_dual_port": "9443"}
    )

    assert (configuration.gateway_profile2_port, configuration.gateway_profile3_port) == (None, None)
    assert configuration.profile2_url == configuration.profile3_url == "wss://localhost:9443"


def test_every_connection_follows_the_database_url(tmp_path: Path) -> None:
    url = "postgresql://u:p@db.example:6432/fleet?sslmode=verify-full&sslrootcert=/etc/ca.pem&connect_timeout=7"
    script = (
        "import django, json; django.setup()\n"
        "from bfcerts.connections import connection_parameters\n"
        "print(json.dumps(connection_parameters('listener')))"
    )
    answer = run(
        [sys.executable, "-c", script],
        tmp_path,
        DATABASE_URL=url,
        BFCERTS_SECRET_KEY="x" * 50,
        BFCERTS_PROCESS="command",
    )

    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == {
        "dbname": "fleet",
        "user": "u",
        "password": "p",
        "host": "db.example",
        "port": "6432",
        "sslmode": "verify-full",
        "sslrootcert": "/etc/ca.pem",
        "connect_timeout": "7",
        "keepalives_idle": 15,
        "client_encoding": "UTF8",
        "application_name": "listener",
    }
