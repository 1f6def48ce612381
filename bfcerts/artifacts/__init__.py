"""Where what is too large or too lasting for the database is kept: security logs, released bundles, issued chains.

One small Protocol with two implementations, a folder and S3. What is stored is named by the inventory, never by who
sent it, and its digest and size are known only once it is stored in whole.
"""

from bfcerts.artifacts.base import ArtifactError, ArtifactStore, BrokenOffError, Stored, TooLargeError
from bfcerts.artifacts.folder import FolderStore
from bfcerts.artifacts.s3 import S3Store
from bfcerts.configuration import Configuration
from bfcerts.setting_kinds import ArtifactStoreKind

__all__ = [
    "ArtifactError",
    "ArtifactStore",
    "BrokenOffError",
    "FolderStore",
    "S3Store",
    "Stored",
    "TooLargeError",
    "store_of",
]


def store_of(configuration: Configuration) -> ArtifactStore:
    """The store that the settings name."""
    if configuration.artifact_store is ArtifactStoreKind.S3:
        return S3Store(configuration.artifact_bucket or "", region=configuration.artifact_region)
    return FolderStore(configuration.artifact_directory or configuration.var_directory / "artifacts")
