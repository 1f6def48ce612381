"""An installation on AWS: the stand-in for Private CA, S3 and SQS as moto's server plays them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acm_pca import AcmPcaServer
from tests.aws import services
from tests.aws.installation import BUCKET, TRUST_DOMAINS, Installation
from tests.support import Clock


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """The URL of moto's server, with a bucket for audit reports."""
    with services.moto_server() as url:
        with services.client("s3", url) as s3:
            services.make_bucket(s3, BUCKET)
        yield url


@pytest.fixture
def s3(moto: str) -> Iterator[Any]:
    """A client of S3 with every right, as AWS itself has it."""
    with services.client("s3", moto) as made:
        yield made


@pytest.fixture
def aws(tmp_path: Path, clock: Clock, s3: Any) -> Iterator[AcmPcaServer]:
    """AWS Private CA, which signs at once unless a test says otherwise."""
    with AcmPcaServer(tmp_path, TRUST_DOMAINS, clock=clock, store=s3) as server:
        server.answer_after(polls=0)
        yield server


@pytest.fixture
def installation(db: None, settings: Any, moto: str, aws: AcmPcaServer, clock: Clock) -> Iterator[Installation]:
    """The control plane's workers in this process, with AWS as their CA and a bucket for its reports."""
    with services.environment(services.credentials(moto)):
        installation = Installation(clock, aws, settings)
        installation.configure()
        installation.start()
        yield installation
        installation.forget_authorities()
