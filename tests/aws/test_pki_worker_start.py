"""What `manage.py pki_worker` says of its AWS configuration when it starts, as an operator sees it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from bfcerts.configuration import BASE_DIRECTORY
from inventory.models import IssuingAuthority, QueueBeat
from tests.acm_pca import AcmPcaServer
from tests.acm_pca.service import REGION
from tests.aws.installation import TRUST_DOMAINS
from tests.end_to_end.plant import database_url_of, eventually
from tests.support import restore_default_policies

pytestmark = pytest.mark.django_db(transaction=True)

ENDS = 60


@pytest.fixture
def aws(transactional_db: None, tmp_path: Path) -> Iterator[AcmPcaServer]:
    restore_default_policies()
    with AcmPcaServer(tmp_path / "acm-pca", TRUST_DOMAINS) as server:
        yield server


def environment(aws: AcmPcaServer, tmp_path: Path, **changed: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "BFCERTS_"))}
    return {
        **own,
        "DATABASE_URL": database_url_of(connection.settings_dict),
        "DJANGO_SETTINGS_MODULE": "bfcerts.settings",
        "BFCERTS_PROCESS": "pki",
        "BFCERTS_VAR_DIRECTORY": str(tmp_path / "var"),
        "BFCERTS_PKI_SECRET_KEY": "the signing key that only the pki process knows 0123456789",
        "BFCERTS_AUTHORITY": "aws_private_ca",
        "BFCERTS_AWS_REGION": REGION,
        "BFCERTS_AWS_ENDPOINT_URL": aws.url,
        "BFCERTS_AWS_PRIVATE_CA_ARNS": ",".join(f"{domain}={arn}" for domain, arn in aws.arns.items()),
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
        "HOME": str(tmp_path),
        **changed,
    }


def refused(aws: AcmPcaServer, tmp_path: Path, **changed: str) -> str:
    answer = subprocess.run(
        [sys.executable, "manage.py", "pki_worker"],
        cwd=BASE_DIRECTORY,
        env=environment(aws, tmp_path, **changed),
        capture_output=True,
        text=True,
        check=False,
        timeout=ENDS,
        start_new_session=True,
    )
    assert answer.returncode != 0
    assert "Traceback" not in answer.stderr
    return answer.stderr


def test_a_short_lived_ca_under_a_longer_policy_is_refused(aws: AcmPcaServer, tmp_path: Path) -> None:
    aws.set_usage_mode("vehicle_vas_identity", "SHORT_LIVED_CERTIFICATE")

    sentence = refused(aws, tmp_path)

    assert "issues for 7 days at most (SHORT_LIVED_CERTIFICATE), and the policy asks for 365 days" in sentence
    assert not IssuingAuthority.objects.filter(trust_domain="vehicle_vas_identity").exists()


def test_a_ca_that_is_not_there_is_refused(aws: AcmPcaServer, tmp_path: Path) -> None:
    arns = {**aws.arns, "charger_identity": aws.arns["charger_identity"][:-1] + "x"}

    sentence = refused(
        aws, tmp_path, BFCERTS_AWS_PRIVATE_CA_ARNS=",".join(f"{domain}={arn}" for domain, arn in arns.items())
    )

    assert "The CA of charger_identity cannot be used" in sentence
    assert "check its state, the ARN in BFCERTS_AWS_PRIVATE_CA_ARNS" in sentence


def test_credentials_that_are_missing_are_an_operators_matter(aws: AcmPcaServer, tmp_path: Path) -> None:
    sentence = refused(aws, tmp_path, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")

    assert "Give the PKI process an IAM role or keys" in sentence


@pytest.mark.parametrize("bucket", ["", "fleet-audit-reports"])
def test_without_a_bucket_for_audit_reports_it_warns_and_runs(aws: AcmPcaServer, tmp_path: Path, bucket: str) -> None:
    chosen = {"BFCERTS_AWS_AUDIT_REPORT_BUCKET": bucket} if bucket else {}
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "pki_worker"],
            cwd=BASE_DIRECTORY,
            env=environment(aws, tmp_path, **chosen),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        eventually(
            lambda: QueueBeat.objects.filter(queue="pki").exists(), what=lambda: (tmp_path / "output").read_text()
        )
    finally:
        process.terminate()
        process.wait(ENDS)

    said = (tmp_path / "output").read_text()
    assert ("BFCERTS_AWS_AUDIT_REPORT_BUCKET is not set" in said) is (not bucket)
    assert "Traceback" not in said
