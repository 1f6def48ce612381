"""The boto3 client of the adapter, with credentials of the test's own instead of the machine's."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3

from bfcerts.pki.authorities.aws_private_ca import build_client
from tests.acm_pca.service import REGION

if TYPE_CHECKING:
    from mypy_boto3_acm_pca import ACMPCAClient

SESSION = boto3.Session(aws_access_key_id="testing", aws_secret_access_key="testing")


@contextmanager
def client(url: str) -> Iterator["ACMPCAClient"]:
    """The adapter's client against a server on loopback, closed at the end."""
    made = build_client(REGION, url, SESSION)
    try:
        yield made
    finally:
        made.close()
