"""Secrets that a first-look installation makes for itself."""

import contextlib
import os
import secrets
import tempfile
from pathlib import Path


def stored_secret(var_directory: Path, name: str, *, octets: int = 48) -> str:
    """A secret of a first-look installation, made once and kept in a file that only its owner reads."""
    folder = var_directory / "secrets"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / name
    if not path.exists():
        # Linked into place when complete: of two processes that make it at once, one wins and both read the same.
        descriptor, draft = tempfile.mkstemp(dir=folder)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(octets))
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        os.unlink(draft)
    return path.read_text(encoding="ascii").strip()
