"""Both artifact stores, through the one Protocol: a folder, and S3 as moto's server speaks it."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bfcerts.artifacts import (
    ArtifactError,
    ArtifactStore,
    BrokenOffError,
    FolderStore,
    S3Store,
    TooLargeError,
    store_of,
)
from bfcerts.artifacts.s3 import PART
from bfcerts.configuration import Configuration
from tests.acm_pca.service import REGION
from tests.aws import services

BUCKET = "artifacts-of-tests"
CONTENT = [b"first line\n", b"", b"second line\n"]


@pytest.fixture(scope="module")
def s3_store() -> Iterator[S3Store]:
    with services.moto_server() as url, services.environment(services.credentials(url)):
        with services.client("s3", url) as s3:
            services.make_bucket(s3, BUCKET)
        yield S3Store(BUCKET, region=REGION)


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    if request.param == "folder":
        return FolderStore(tmp_path / "artifacts")
    made: S3Store = request.getfixturevalue("s3_store")
    return made


def test_what_was_kept_comes_back_with_its_digest(store: ArtifactStore) -> None:
    stored = store.put("logs/cs-1.log", CONTENT, largest=100)

    whole = b"".join(CONTENT)
    assert (stored.sha256, stored.size) == (hashlib.sha256(whole).hexdigest(), len(whole))
    assert b"".join(store.read("logs/cs-1.log")) == whole


def test_nothing_is_kept_of_what_is_too_large(store: ArtifactStore) -> None:
    with pytest.raises(TooLargeError, match="More than 22 bytes"):
        store.put("logs/large.log", CONTENT, largest=22)

    with pytest.raises(ArtifactError):
        store.read("logs/large.log")


def test_as_much_as_is_allowed_is_kept(store: ArtifactStore) -> None:
    assert store.put("logs/exact.log", CONTENT, largest=23).size == 23


def test_an_artifact_of_several_parts_is_whole(store: ArtifactStore) -> None:
    chunk = bytes(range(256)) * 4096

    stored = store.put("logs/parts.log", (chunk for _ in range(2 * PART // len(chunk) + 1)), largest=3 * PART)

    digest = hashlib.sha256()
    for piece in store.read("logs/parts.log"):
        digest.update(piece)
    assert stored.size == 2 * PART + len(chunk)
    assert digest.hexdigest() == stored.sha256


def test_a_sender_that_breaks_off_leaves_what_was_there(store: ArtifactStore) -> None:
    store.put("logs/again.log", [b"before"], largest=100)

    def breaks_off() -> Iterator[bytes]:
        yield b"after"
        raise ConnectionResetError

    with pytest.raises(BrokenOffError):
        store.put("logs/again.log", breaks_off(), largest=100)

    assert b"".join(store.read("logs/again.log")) == b"before"


def test_what_is_deleted_is_gone_and_may_be_deleted_again(store: ArtifactStore) -> None:
    store.put("logs/old.log", CONTENT, largest=100)

    store.delete("logs/old.log")
    store.delete("logs/old.log")

    with pytest.raises(ArtifactError):
        store.read("logs/old.log")


@pytest.mark.parametrize(
    "name", ["../outside", "/absolute", "logs/../../outside", "logs//twice", "", "UPPER", "a" * 201]
)
@pytest.mark.parametrize("use", ["put", "read", "delete"])
def test_a_name_never_leaves_its_place(store: ArtifactStore, name: str, use: str) -> None:
    uses: dict[str, Callable[[], object]] = {
        "put": lambda: store.put(name, CONTENT, largest=100),
        "read": lambda: store.read(name),
        "delete": lambda: store.delete(name),
    }

    with pytest.raises(ArtifactError, match="no name for an artifact"):
        uses[use]()


def test_an_unfinished_file_is_not_left_behind(tmp_path: Path) -> None:
    with pytest.raises(TooLargeError):
        FolderStore(tmp_path).put("large.log", CONTENT, largest=1)

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where a folder is wanted")

    with pytest.raises(ArtifactError, match="could not be kept"):
        FolderStore(tmp_path).put("logs/cs-1.log", CONTENT, largest=100)


def test_a_bucket_that_is_not_there_says_so(s3_store: S3Store) -> None:
    with pytest.raises(ArtifactError, match="no-such-bucket-here"):
        S3Store("no-such-bucket-here", region=REGION).put("cs-1.log", CONTENT, largest=100)


def test_the_settings_name_the_store(tmp_path: Path) -> None:
    folder = Configuration.model_validate({"var_directory": tmp_path})
    bucket = Configuration.model_validate({"artifact_store": "s3", "artifact_bucket": BUCKET})

    assert isinstance(store_of(folder), FolderStore)
    assert isinstance(store_of(bucket), S3Store)
    with pytest.raises(ValueError, match="needs BFCERTS_ARTIFACT_BUCKET"):
        Configuration.model_validate({"artifact_store": "s3"})
