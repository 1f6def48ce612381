"""The real workers with SQS as the carrier of their pulses, and with AWS Private CA behind the PKI worker."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django_q import core_signing
from django_q.models import OrmQ
from django_q.signing import PickleSerializer

from bfcerts.configuration import BASE_DIRECTORY
from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.models import OutboxCommand
from bfcerts.stored_secrets import stored_secret
from inventory.choices import RecordState
from inventory.jobs.cluster import UNCOUNTED_LIMIT
from inventory.models import CertificateJob, CertificateRecord, QueueBeat
from inventory.services import lifecycle
from tests.acm_pca import AcmPcaServer
from tests.acm_pca.service import REGION
from tests.aws import services
from tests.aws.installation import BUCKET, TRUST_DOMAINS
from tests.end_to_end.plant import Plant, database_url_of, eventually, prepare_folder
from tests.support import OPERATOR, charger, request_for

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass
class AwsPlant(Plant):
    """The workers as an installation on AWS configures them."""

    moto: str = ""
    aws: AcmPcaServer | None = None
    prefix: str = ""

    def _environment(self) -> dict[str, str]:
        assert self.aws is not None
        return {
            **super()._environment(),
            **services.credentials(self.moto),
            "BFCERTS_QUEUE_BROKER": "sqs",
            "BFCERTS_QUEUE_PREFIX": self.prefix,
            "BFCERTS_SQS_REGION": REGION,
            "BFCERTS_AUTHORITY": "aws_private_ca",
            "BFCERTS_AWS_REGION": REGION,
            "BFCERTS_AWS_ENDPOINT_URL": self.aws.url,
            "BFCERTS_AWS_PRIVATE_CA_ARNS": ",".join(f"{domain}={arn}" for domain, arn in self.aws.arns.items()),
            "BFCERTS_AWS_AUDIT_REPORT_BUCKET": BUCKET,
        }


@pytest.fixture
def sqs(moto: str) -> Iterator[Any]:
    with services.client("sqs", moto) as made:
        yield made


@pytest.fixture
def plant(transactional_db: None, tmp_path: Path, moto: str, s3: Any) -> Iterator[AwsPlant]:
    prepare_folder(tmp_path, settings.CONFIGURATION)
    with AcmPcaServer(tmp_path / "acm-pca", TRUST_DOMAINS, store=s3) as aws:
        plant = AwsPlant(
            settings.CONFIGURATION,
            database_url_of(connection.settings_dict),
            tmp_path,
            moto=moto,
            aws=aws,
            prefix=f"fleet-{uuid.uuid4().hex[:8]}",
        )
        try:
            yield plant
        finally:
            plant.stop()


def url_of(sqs: Any, name: str) -> str:
    return str(sqs.get_queue_url(QueueName=name)["QueueUrl"])


def waiting(sqs: Any, name: str) -> int:
    attribute = "ApproximateNumberOfMessages"
    answer = sqs.get_queue_attributes(QueueUrl=url_of(sqs, name), AttributeNames=[attribute])
    return int(answer["Attributes"][attribute])


def beat(queue: str) -> datetime | None:
    return QueueBeat.objects.filter(queue=queue).values_list("beat_at", flat=True).first()


def wait_for_beats(plant: AwsPlant, queue: str, after: datetime | None = None) -> datetime:
    def later() -> datetime | None:
        at = beat(queue)
        return at if at and (after is None or at > after) else None

    return eventually(later, what=lambda: f"a pulse of {queue}: {plant.log('worker')} {plant.log('pki-worker')}")


def task_that_touches(path: Path, key: str, salt: str) -> str:
    """A task as django-q2 sends it, signed with a key."""
    task = {
        "id": uuid.uuid4().hex,
        "name": "touch",
        "func": "pathlib.Path.touch",
        "args": (path,),
        "kwargs": {},
        "started": datetime.now(UTC),
    }
    return str(core_signing.dumps(task, key=key, salt=salt, serializer=PickleSerializer))


def test_the_workers_run_jobs_with_sqs_and_aws_private_ca(plant: AwsPlant, sqs: Any) -> None:
    plant.start("pki-worker", "worker")
    wait_for_beats(plant, "pki")
    wait_for_beats(plant, "general")
    identity = charger("CS-1")
    job = lifecycle.issue(
        identity=identity, purpose="charger_identity", csr_pem=request_for("CS-1"), actor=OPERATOR, reason="test"
    )

    eventually(
        lambda: OutboxCommand.objects.filter(station_id="CS-1", action=Action.DELIVER_CERTIFICATE).exists(),
        what=lambda: f"{CertificateJob.objects.get(pk=job.pk).outcome} {plant.log('pki-worker')}",
    )

    record = CertificateRecord.objects.get()
    assert plant.aws is not None
    assert record.state == RecordState.ISSUED
    assert [one.serial_hex for one in plant.aws.issued] == [record.serial_number]
    for queue, name in (("pki", f"{plant.prefix}-pki"), ("general", f"{plant.prefix}-worker")):
        seen = wait_for_beats(plant, queue)
        for _ in range(3):
            seen = wait_for_beats(plant, queue, seen)
        assert waiting(sqs, name) <= UNCOUNTED_LIMIT + 1
    for name in ("pki-worker", "worker"):
        plant.running[name].send_signal(signal.SIGTERM)
        code = plant.running[name].wait(60)
        del plant.running[name]
        assert code == 0, f"{name} had to be killed"
    assert not OrmQ.objects.exists()
    assert "Traceback" not in plant.log("pki-worker") + plant.log("worker")


def test_the_pki_worker_runs_nothing_that_others_put_into_its_queue(plant: AwsPlant, sqs: Any, tmp_path: Path) -> None:
    plant.start("pki-worker")
    wait_for_beats(plant, "pki")
    name = f"{plant.prefix}-pki"
    hostile, control = tmp_path / "hostile", tmp_path / "control"
    sqs.send_message(QueueUrl=url_of(sqs, name), MessageBody=task_that_touches(hostile, settings.SECRET_KEY, name))
    sqs.send_message(QueueUrl=url_of(sqs, name), MessageBody="not even a task")

    own_key = stored_secret(plant.folder, "pki_secret_key")
    sqs.send_message(QueueUrl=url_of(sqs, name), MessageBody=task_that_touches(control, own_key, name))

    eventually(lambda: control.exists() or None, what=lambda: plant.log("pki-worker"))
    wait_for_beats(plant, "pki", beat("pki"))
    assert not hostile.exists()
    assert plant.running["pki-worker"].poll() is None


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:9"}, "Check BFCERTS_SQS_REGION, the credentials of this process"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "Unable to locate credentials"),
        ({"BFCERTS_SQS_REGION": ""}, "BFCERTS_QUEUE_BROKER=sqs needs BFCERTS_SQS_REGION"),
        ({"BFCERTS_QUEUE_PREFIX": "two words"}, "BFCERTS_QUEUE_PREFIX: it has to be a text of the form"),
    ],
)
def test_a_worker_without_its_queue_stops_with_one_sentence(
    plant: AwsPlant, changed: dict[str, str], sentence: str
) -> None:
    plant.ports = dict.fromkeys(("profile2", "profile3", "dual", "web"), 1)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "BFCERTS_"))},
        "HOME": str(plant.folder),
        "DATABASE_URL": plant.database_url,
        "BFCERTS_PROCESS": "worker",
        "BFCERTS_SECRET_KEY": "w" * 50,
        "BFCERTS_CREDENTIAL_KEY": "c" * 50,
        **plant._environment(),
        **changed,
    }
    answer = subprocess.run(
        [sys.executable, "manage.py", "worker"],
        cwd=BASE_DIRECTORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        start_new_session=True,
    )

    assert answer.returncode != 0
    assert sentence in answer.stderr
    assert "Traceback" not in answer.stderr
