"""Of which kinds the values of settings are: the closed choices, and the numbers with their bounds."""

from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, Field


class Process(StrEnum):
    """Which process of the process model this is; it decides which secrets may be present."""

    WEB = "web"
    GATEWAY = "gateway"
    WORKER = "worker"
    PKI = "pki"
    COMMAND = "command"


class AuthorityKind(StrEnum):
    """Which certificate authority issues for the managed purposes."""

    LOCAL = "local"
    AWS_PRIVATE_CA = "aws_private_ca"


class ArtifactStoreKind(StrEnum):
    """Where security logs, released bundles and issued chains are kept."""

    FOLDER = "folder"
    S3 = "s3"


class QueueBroker(StrEnum):
    """What carries the pulse of django-q2; the job table is the truth with either."""

    ORM = "orm"
    REDIS = "redis"
    SQS = "sqs"


Seconds = Annotated[float, Field(gt=0)]
Port = Annotated[int, Field(ge=0, le=65535)]
Days = Annotated[int, Field(ge=1, le=3650)]


def _none_where_off(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() in ("", "off") else value


ListenerPort = Annotated[Port | None, BeforeValidator(_none_where_off)]
"""A port, or None for a listener that is switched off: in the environment an empty value, or `off`."""
