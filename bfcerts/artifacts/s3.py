"""Artifacts in an S3 bucket. Who may read them, their encryption and their life cycle are matters of the bucket."""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from bfcerts.artifacts.base import CHUNK, ArtifactError, Measured, Stored, checked_name

PART = 8 * 1024 * 1024
"""Bytes sent in one request, and so the most that is held in memory for one artifact."""


class S3Store:
    """Implements `ArtifactStore`. What is sent in parts appears under its name when the last part is there."""

    def __init__(self, bucket: str, *, region: str | None = None) -> None:
        self._bucket = bucket
        self._region = region

    def put(self, name: str, chunks: Iterable[bytes], *, largest: int) -> Stored:
        from boto3.s3.transfer import TransferConfig

        key, measured = checked_name(name), Measured(chunks, largest)
        one_after_the_other = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, use_threads=False)
        with self._speaking_of(name, "kept in"):
            self._client.upload_fileobj(_Reader(measured), self._bucket, key, Config=one_after_the_other)
        return measured.stored()

    def read(self, name: str) -> Iterator[bytes]:
        with self._speaking_of(name, "read from"):
            body = self._client.get_object(Bucket=self._bucket, Key=checked_name(name))["Body"]
        return iter(body.iter_chunks(CHUNK))

    def delete(self, name: str) -> None:
        with self._speaking_of(name, "deleted from"):
            self._client.delete_object(Bucket=self._bucket, Key=checked_name(name))

    @cached_property
    def _client(self) -> Any:
        # Only who stores something in S3 pays for boto3.
        import boto3

        return boto3.Session().client("s3", region_name=self._region)

    @contextmanager
    def _speaking_of(self, name: str, verb: str) -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError, Boto3Error) as error:
            raise ArtifactError(f"{name} could not be {verb} the bucket {self._bucket}: {error}") from None


class _Reader(io.RawIOBase):
    """Chunks as a file that can be read once, which is what boto3 takes."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        super().__init__()
        self._chunks = iter(chunks)
        self._left = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        parts, wanted = [self._left], size
        had = len(self._left)
        while wanted < 0 or had < wanted:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            parts.append(chunk)
            had += len(chunk)
        everything = b"".join(parts)
        if wanted < 0:
            self._left = b""
            return everything
        self._left = everything[wanted:]
        return everything[:wanted]
