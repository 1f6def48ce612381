"""Charging stations for load: each with a certificate of the local CA in use, and the next request made beforehand."""

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from bfcerts.pki.authorities.base import SignRequest
from bfcerts.pki.authorities.local import LocalAuthority
from bfcerts.pki.certificates import split_chain
from bfcerts.pki.csr import parse_csr
from bfcerts.pki.profiles import profile
from inventory.purposes import CHARGER_IDENTITY
from tests.simulator.csr import key_pem, make_csr, make_key, subject
from tests.simulator.identity import Identity, KeyType
from tests.simulator.quirks import Quirks

BACKDATING = timedelta(hours=1)
VALIDITY = timedelta(days=180)


@dataclass(frozen=True, slots=True)
class Station:
    """One station: what it presents, what it will ask for, and what the inventory has to know of it."""

    station_id: str
    serial_number: str
    credential_file: Path
    """Key, certificate and issuing CA in one PEM file."""
    next_csr: str
    csr: str
    csr_sha256: str
    certificate: str
    chain: str
    """From the issuing CA to the root."""


def make_stations(numbers: Iterable[int], folder: Path, authority: LocalAuthority, now: datetime) -> Iterator[Station]:
    """A station with P-256 keys for each number; the certificates are really issued by the CA."""
    folder.mkdir(parents=True, exist_ok=True)
    now = now.replace(microsecond=0)
    for number in numbers:
        identity = Identity(station_id=f"CS-{number:06}", serial_number=f"SN-{number:06}")
        name = subject(identity, "Bench", Quirks())
        key = make_key(KeyType.P256)
        csr = parse_csr(make_csr(key, name))
        reference = authority.submit(
            SignRequest(
                token=uuid.uuid4().hex,
                csr=csr,
                profile=profile(CHARGER_IDENTITY.certificate_profile),
                subject=None,
                dns_names=(),
                not_before=now - BACKDATING,
                not_after=now + VALIDITY,
            )
        )
        signed = authority.collect(reference)
        if signed is None:
            raise LookupError(f"the local CA has not signed {reference}")
        file = folder / f"{identity.station_id}.pem"
        file.write_bytes(key_pem(key) + (signed.certificate_pem + split_chain(signed.chain_pem)[0]).encode())
        yield Station(
            station_id=identity.station_id,
            serial_number=identity.serial_number,
            credential_file=file,
            next_csr=make_csr(make_key(KeyType.P256), name),
            csr=csr.pem,
            csr_sha256=csr.sha256,
            certificate=signed.certificate_pem,
            chain=signed.chain_pem,
        )
