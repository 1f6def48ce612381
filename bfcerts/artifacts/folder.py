"""Artifacts in a folder: for one machine, or on a file system that all processes share."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from bfcerts.artifacts.base import CHUNK, ArtifactError, Measured, Stored, checked_name


class FolderStore:
    """Implements `ArtifactStore`. A file appears under its name when it is written in whole and safe on the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, chunks: Iterable[bytes], *, largest: int) -> Stored:
        target = self._path(name)
        measured = Measured(chunks, largest)
        try:
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, unfinished = tempfile.mkstemp(dir=target.parent, prefix=".unfinished-")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    for chunk in measured:
                        file.write(chunk)
                    file.flush()
                    os.fsync(file.fileno())
                Path(unfinished).replace(target)
            except BaseException:  # also when it is given up: nothing unfinished stays
                Path(unfinished).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise ArtifactError(f"{name} could not be kept in {self._folder}: {error.strerror or error}.") from None
        return measured.stored()

    def read(self, name: str) -> Iterator[bytes]:
        try:
            file = self._path(name).open("rb")
        except OSError as error:
            raise ArtifactError(f"{name} is not in {self._folder}: {error.strerror}.") from None
        return _chunks(file)

    def delete(self, name: str) -> None:
        try:
            self._path(name).unlink(missing_ok=True)
        except OSError as error:
            raise ArtifactError(f"{name} could not be deleted from {self._folder}: {error.strerror}.") from None

    def _path(self, name: str) -> Path:
        return self._folder / checked_name(name)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK):
            yield chunk
