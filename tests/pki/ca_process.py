"""A process of its own that uses the local CA, so that tests can race it and kill it.

Begins on a line from standard input and prints one line for every thing done:

    python -m tests.pki.ca_process create FOLDER DOMAIN…       the root of each trust domain, on one line
    python -m tests.pki.ca_process sign FOLDER CSR EPOCH       references, one after the other, each revoked too
"""

import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bfcerts.pki.authorities.base import RevocationReason
from bfcerts.pki.authorities.local import LocalAuthority
from bfcerts.pki.csr import parse_csr
from tests.pki.authority_contract import TRUST_DOMAIN, request

SECRET = "a secret from the environment, long enough"


def utc_now() -> datetime:
    return datetime.now(UTC)


def create(folder: Path, domains: list[str]) -> None:
    for domain in domains:
        root_pem = LocalAuthority(folder, domain, SECRET, clock=utc_now).describe().root_pem
        say(root_pem.replace("\n", ""))


def sign(folder: Path, csr: Path, begin: datetime) -> None:
    authority = LocalAuthority(folder, TRUST_DOMAIN, SECRET, clock=utc_now)
    asked = request(parse_csr(csr.read_text()), not_before=begin, not_after=begin + timedelta(days=30))
    number = 0
    while True:
        reference = authority.submit(replace(asked, token=f"token-{number}"))
        authority.revoke(reference.rpartition(":")[2], RevocationReason.SUPERSEDED)
        say(reference)
        number += 1


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    action, folder, *rest = sys.argv[1:]
    sys.stdin.readline()
    if action == "create":
        create(Path(folder), rest)
    else:
        sign(Path(folder), Path(rest[0]), datetime.fromtimestamp(int(rest[1]), UTC))
