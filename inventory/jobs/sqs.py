"""SQS as the carrier of the pulse, in place of django-q2's own broker for it.

That one asks an empty queue without pause, builds a boto3 session for every look at the queue, and shares its
connections with the processes that the cluster forks, where two would read each other's answers. Rights that a process
needs on its own queue: sqs:GetQueueUrl, GetQueueAttributes, SendMessage, ReceiveMessage and DeleteMessage, and
CreateQueue unless the queue is there.
"""

import os
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django_q.brokers import Broker
from django_q.conf import Conf

LONG_POLL_SECONDS = 5
"""How long an empty queue is asked; shorter than a stopping cluster is waited for."""
RETENTION_SECONDS = 300
"""A pulse is worth nothing later; a queue that we make forgets it."""

FAILURES = (BotoCoreError, ClientError)
"""What using the queue raises when AWS refuses or does not answer."""

_CONFIGURATION = Config(
    connect_timeout=5,
    read_timeout=LONG_POLL_SECONDS + 10,
    retries={"mode": "standard", "total_max_attempts": 3},
    tcp_keepalive=True,
)


class SqsBroker(Broker):  # type: ignore[misc]  # django-q2 has no types
    """One queue, named like the cluster. Each process that inherits this object opens connections of its own."""

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        self._opened: tuple[int, Any, str] | None = None

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)
        self._opened = None

    def enqueue(self, task: str) -> str:
        client, url = self._queue()
        return str(client.send_message(QueueUrl=url, MessageBody=task)["MessageId"])

    def dequeue(self) -> list[tuple[str, str]]:
        client, url = self._queue()
        answer = client.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=min(Conf.BULK, 10),
            VisibilityTimeout=Conf.RETRY,
            WaitTimeSeconds=LONG_POLL_SECONDS,
        )
        return [(message["ReceiptHandle"], message["Body"]) for message in answer.get("Messages", ())]

    def queue_size(self) -> int:
        """How many pulses wait, as SQS guesses: it may be wrong for a minute, either way."""
        client, url = self._queue()
        name = "ApproximateNumberOfMessages"
        try:
            answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=[name])
        except client.exceptions.QueueDoesNotExist:
            self._opened = None  # somebody deleted it; the next look makes it again
            raise
        return int(answer["Attributes"][name])

    def delete(self, task_id: str) -> None:
        client, url = self._queue()
        client.delete_message(QueueUrl=url, ReceiptHandle=task_id)

    def acknowledge(self, task_id: str) -> None:
        self.delete(task_id)

    def fail(self, task_id: str) -> None:
        self.delete(task_id)

    def ping(self) -> bool:
        """Whether the queue is there, or could be made."""
        self._queue()
        return True

    def info(self) -> str:
        return "AWS SQS"

    def _queue(self) -> tuple[Any, str]:
        if self._opened is None or self._opened[0] != os.getpid():
            client = boto3.Session().client("sqs", region_name=settings.CONFIGURATION.sqs_region, config=_CONFIGURATION)
            self._opened = (os.getpid(), client, _url(client, self.list_key))
        return self._opened[1:]


def _url(client: Any, name: str) -> str:
    try:
        return str(client.get_queue_url(QueueName=name)["QueueUrl"])
    except client.exceptions.QueueDoesNotExist:
        attributes = {"MessageRetentionPeriod": str(RETENTION_SECONDS)}
        return str(client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])
