"""The AWS services that moto's server plays for us on loopback: S3 and SQS."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Literal

import boto3
from moto.server import ThreadedMotoServer

from tests.acm_pca.service import REGION

SESSION = boto3.Session(aws_access_key_id="testing", aws_secret_access_key="testing", region_name=REGION)


@contextmanager
def moto_server() -> Iterator[str]:
    """moto's server on a free port; its URL."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@contextmanager
def client(service: Literal["s3", "sqs"], url: str) -> Iterator[Any]:
    """A boto3 client of a service at moto's server, closed at the end."""
    made = SESSION.client(service, endpoint_url=url)
    try:
        yield made
    finally:
        made.close()


def make_bucket(s3: Any, name: str) -> None:
    """Make a bucket, or take the one that is there: moto's servers of one process share what they hold."""
    with suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})


def credentials(url: str) -> dict[str, str]:
    """What a process of ours is given in its environment to use AWS as moto plays it."""
    return {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL_S3": url,
        "AWS_ENDPOINT_URL_SQS": url,
    }


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Values in this process's environment for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
