"""The openssl binary, as the judge of what we read and make."""

import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path


def openssl(*arguments: str | Path, stdin: bytes = b"") -> str:
    """Standard output and error of a successful run."""
    done = subprocess.run(
        ["openssl", *map(str, arguments)],  # noqa: S607  # whichever the machine has  # the one on the path is the judge
        input=stdin,
        capture_output=True,
        check=False,
    )
    text = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 0, text
    return text


def verifies(
    leaf_pem: str,
    *,
    root_pem: str,
    between: Sequence[str],
    purpose: str,
    folder: Path,
    at: datetime | None = None,
    strict: bool = True,
) -> bool:
    """Whether openssl finds a path from the leaf to the root for a purpose."""
    files = {"leaf": leaf_pem, "root": root_pem, "between": "".join(between)}
    for name, content in files.items():
        (folder / f"{name}.pem").write_text(content)
    paths = [str(folder / f"{name}.pem") for name in ("root", "between", "leaf")]
    options = ["-no-CApath", "-no-CAstore", "-purpose", purpose, *(["-x509_strict"] if strict else [])]
    if at is not None:
        options += ["-attime", str(int(at.timestamp()))]
    done = subprocess.run(
        ["openssl", "verify", *options, "-CAfile", paths[0], "-untrusted", paths[1], paths[2]],  # noqa: S607  # whichever the machine has
        capture_output=True,
        check=False,
    )
    return done.returncode == 0
