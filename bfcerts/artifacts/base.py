"""What every artifact store can do, and how it refuses."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

CHUNK: Final = 64 * 1024
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*){0,5}")


class ArtifactError(Exception):
    """The store could not keep, read or delete an artifact; the text says which and what to do."""


class TooLargeError(ArtifactError):
    """More came than may be kept; nothing of it was."""


class BrokenOffError(ArtifactError):
    """Who sent the content stopped in the middle; nothing of it was kept."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What was kept."""

    sha256: str
    size: int


class ArtifactStore(Protocol):
    """Keeps bytes under a name. Storing the same name again replaces what was there, in whole or not at all."""

    def put(self, name: str, chunks: Iterable[bytes], *, largest: int) -> Stored:
        """Keep what comes, without holding it in memory.

        :param largest: bytes; one more and nothing is kept.
        :raises TooLargeError: when more came.
        :raises BrokenOffError: when reading what comes failed.
        :raises ArtifactError: when the store failed.
        """

    def read(self, name: str) -> Iterator[bytes]:
        """What is kept, in pieces.

        :raises ArtifactError: when there is nothing under this name.
        """

    def delete(self, name: str) -> None:
        """Forget it; what is not there is forgotten already."""


def checked_name(name: str) -> str:
    """A name that cannot leave its place.

    :raises ArtifactError: for any other.
    """
    if len(name) > 200 or not _NAME.fullmatch(name) or ".." in name:
        raise ArtifactError(f"{name!r} is no name for an artifact.")
    return name


class Measured:
    """Passes chunks on while it counts and digests them, and stops at the limit."""

    def __init__(self, chunks: Iterable[bytes], largest: int) -> None:
        self._source = iter(chunks)
        self._largest = largest
        self._digest = hashlib.sha256()
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        while (chunk := self._next()) is not None:
            self.size += len(chunk)
            if self.size > self._largest:
                raise TooLargeError(f"More than {self._largest} bytes came; nothing of it was kept.")
            self._digest.update(chunk)
            yield chunk

    def _next(self) -> bytes | None:
        try:
            return next(self._source, None)
        except OSError as error:
            raise BrokenOffError("The content broke off; nothing of it was kept.") from error

    def stored(self) -> Stored:
        return Stored(self._digest.hexdigest(), self.size)
