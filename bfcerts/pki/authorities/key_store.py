"""The local CA's keys and certificates on disk: made once per trust domain, keys encrypted, all or nothing.

    <directory>/<trust_domain>/root.pem      public
                               issuing.pem   public
                               root.key      PKCS #8, encrypted
                               issuing.key   PKCS #8, encrypted
                               salt          of the key derivation
                               issued/       certificates by serial number
                               revoked/      revocations by serial number
                               partial/      files that are not yet under their name

A folder appears under its name by one rename, when everything in it is on disk. So a process that dies
half-way leaves a folder that nobody reads, and the next one clears it away under the lock.
"""

import fcntl
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from bfcerts.pki.authorities.base import AuthorityMisconfigured

ROOT_YEARS = 20
ISSUING_YEARS = 5
SHORTEST_SECRET = 16

_TRUST_DOMAIN = re.compile(r"[a-z][a-z0-9_]{0,62}")
_DAYS_A_YEAR = 365.25
# CAs begin a day early, so that a leaf backdated against wrong clocks does not begin before its issuer.
_BACKDATED = timedelta(days=1)
_SCRYPT_COST = 2**14
# A file that a living process still writes is never this old.
_PARTIAL_SECONDS = 3600.0


@dataclass(frozen=True)
class KeyPair:
    """A CA: its certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class TrustDomainKeys:
    """The CAs of one trust domain.

    :ivar serial_key: keys the derivation of serial numbers; it never leaves the process.
    """

    folder: Path
    root: KeyPair
    issuing: KeyPair
    serial_key: bytes


def open_or_create(directory: Path, trust_domain: str, secret: bytes, now: datetime) -> TrustDomainKeys:
    """The CAs of a trust domain, made on first use. Processes that race for it end up with the same ones.

    :param secret: what the private keys are encrypted under, from the environment.
    :raises AuthorityMisconfigured: for a wrong secret, an impossible name or a folder that cannot be used.
    """
    if not _TRUST_DOMAIN.fullmatch(trust_domain):
        raise AuthorityMisconfigured(f"{trust_domain!r} cannot be the name of a trust domain.")
    if len(secret) < SHORTEST_SECRET:
        raise AuthorityMisconfigured(
            f"BFCERTS_LOCAL_CA_KEY has {len(secret)} characters; give it at least {SHORTEST_SECRET}."
        )
    folder = directory / trust_domain
    try:
        if not folder.exists():
            _create(directory, trust_domain, secret, now)
        return _load(folder, secret)
    except OSError as error:
        raise AuthorityMisconfigured(
            f"The local CA's folder {folder} cannot be used: {error.strerror}. Give its user the right to "
            "write there, or restore the files."
        ) from error


def shaped_serial(octets: bytes) -> int:
    """A serial number of exactly 127 bits from 16 random octets.

    Its first hex digit is 4 to 7, so neither padding nor a sign can be added or lost on the way: one station
    finds nothing when asked with padding, another rejects its own report without.
    """
    return int.from_bytes(bytes([0x40 | octets[0] & 0x3F]) + octets[1:16], "big")


def write_durably(path: Path, content: bytes, mode: int) -> None:
    """Write a file whose content is on disk when this returns."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def publish_durably(partial: Path, path: Path, content: bytes) -> None:
    """Let a file appear under its name, complete and on disk, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial.mkdir(exist_ok=True)
    unfinished = partial / f"{path.name}.{os.getpid()}.{threading.get_ident()}"
    write_durably(unfinished, content, 0o644)
    unfinished.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _create(directory: Path, trust_domain: str, secret: bytes, now: datetime) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    with _locked(directory):
        if (directory / trust_domain).exists():
            return
        unfinished = directory / f".unfinished-{trust_domain}"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o755)
        salt = secrets.token_bytes(16)
        encryption_key, _ = _derive(secret, salt)
        root = _certify(_name(trust_domain, "root"), None, now, ROOT_YEARS)
        issuing = _certify(_name(trust_domain, "issuing"), root, now, ISSUING_YEARS)
        write_durably(unfinished / "salt", salt, 0o600)
        for name, pair in (("root", root), ("issuing", issuing)):
            encrypted = pair.key.private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(encryption_key)
            )
            write_durably(unfinished / f"{name}.key", encrypted, 0o600)
            write_durably(unfinished / f"{name}.pem", pair.certificate.public_bytes(Encoding.PEM), 0o644)
        _sync_folder(unfinished)
        unfinished.rename(directory / trust_domain)
        _sync_folder(directory)


def _load(folder: Path, secret: bytes) -> TrustDomainKeys:
    _clear_partial(folder / "partial")
    encryption_key, serial_key = _derive(secret, (folder / "salt").read_bytes())
    return TrustDomainKeys(
        folder=folder,
        root=_load_pair(folder, "root", encryption_key),
        issuing=_load_pair(folder, "issuing", encryption_key),
        serial_key=serial_key,
    )


def _clear_partial(partial: Path) -> None:
    for left_behind in partial.glob("*"):
        with suppress(FileNotFoundError):
            if left_behind.stat().st_mtime < time.time() - _PARTIAL_SECONDS:
                left_behind.unlink()


def _load_pair(folder: Path, name: str, encryption_key: bytes) -> KeyPair:
    try:
        key = load_pem_private_key((folder / f"{name}.key").read_bytes(), encryption_key)
    except ValueError:
        raise AuthorityMisconfigured(
            f"BFCERTS_LOCAL_CA_KEY does not open the local CA's keys in {folder}: use the secret that they "
            "were made with, or another folder for a new CA."
        ) from None
    certificate = x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes())
    if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
        raise AuthorityMisconfigured(f"{folder / name}.pem does not belong to the key beside it; restore both.")
    return KeyPair(certificate, key)


def _derive(secret: bytes, salt: bytes) -> tuple[bytes, bytes]:
    master = Scrypt(salt=salt, length=32, n=_SCRYPT_COST, r=8, p=1).derive(secret)

    def expand(purpose: bytes) -> bytes:
        return HKDFExpand(algorithm=hashes.SHA256(), length=32, info=purpose).derive(master)

    return expand(b"private key encryption"), expand(b"serial numbers")


def _name(trust_domain: str, role: str) -> x509.Name:
    words = trust_domain.replace("_", " ").capitalize()
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Development"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{words} {role} CA G1"),
        ]
    )


def _certify(name: x509.Name, issuer: KeyPair | None, now: datetime, years: int) -> KeyPair:
    key = ec.generate_private_key(ec.SECP256R1())
    begin = (now - _BACKDATED).replace(microsecond=0)
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.certificate.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(shaped_serial(secrets.token_bytes(16)))
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=_DAYS_A_YEAR * years))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0 if issuer else 1), critical=True)
        .add_extension(_CA_KEY_USAGE, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer:
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    return KeyPair(builder.sign(signer, hashes.SHA256()), key)


_CA_KEY_USAGE = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
