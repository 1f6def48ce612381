"""The local development CA: for each trust domain a root and an issuing CA of its own, in a folder.

It needs no journal, because it is deterministic: the serial number is derived from the request and the
signature is RFC 6979, so the same request gives the same certificate byte for byte, also after a crash.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from bfcerts.pki.authorities.base import (
    AuthorityDescription,
    AuthorityMisconfigured,
    AuthorityUnavailable,
    Candidates,
    Recovery,
    RequestRefused,
    RevocationReason,
    SignedCertificate,
    SignRequest,
)
from bfcerts.pki.authorities.key_store import TrustDomainKeys, open_or_create, publish_durably, shaped_serial
from bfcerts.pki.names import OBJECT_IDENTIFIERS
from bfcerts.pki.profiles import AlternativeNames, EndEntityProfile, KeyUsage

_REFERENCE = re.compile(r"local:([a-z0-9_]+):([0-9a-f]{32})")
_SERIAL = re.compile(r"[0-9a-f]{32}")


def ensure_local_allowed(debug: bool, allowed: bool) -> None:
    """Keep the development CA out of production.

    :raises AuthorityMisconfigured: unless DEBUG is on or an operator allowed it.
    """
    if not debug and not allowed:
        raise AuthorityMisconfigured(
            "The local development CA does not run with DEBUG off: set BFCERTS_AUTHORITY=aws_private_ca, or "
            "BFCERTS_LOCAL_CA_ALLOWED=true if a CA with its keys on this disk is what you want."
        )


class LocalAuthority:
    """A `CertificateAuthority` whose keys lie encrypted in `directory`.

    :param key: the secret from the environment under which the keys are encrypted.
    :param clock: the time now, aware.
    """

    def __init__(self, directory: Path, trust_domain: str, key: bytes | str, *, clock: Callable[[], datetime]) -> None:
        self._directory = directory
        self._trust_domain = trust_domain
        self._secret = key.encode() if isinstance(key, str) else key
        self._clock = clock

    @property
    def name(self) -> str:
        """How operators see it."""
        return "Local development CA"

    @property
    def answers_at_once(self) -> bool:
        """The serial number follows from the request's token, for good."""
        return True

    @property
    def run_by_others(self) -> bool:
        """It is ours."""
        return False

    @property
    def trust_domain(self) -> str:
        """The one trust domain that it issues for."""
        return self._trust_domain

    def describe(self) -> AuthorityDescription:
        """Its certificates and state, made on first use; see `CertificateAuthority.describe`."""
        issuing = self._keys.issuing.certificate
        expired = issuing.not_valid_after_utc <= self._clock()
        root_pem = _pem(self._keys.root.certificate)
        return AuthorityDescription(
            reference=f"local:{self._trust_domain}",
            certificate_pem=_pem(issuing),
            chain_pem=self._chain_pem,
            root_pem=root_pem,
            mode="DEVELOPMENT",
            longest_validity=None,
            usable=not expired,
            status="EXPIRED" if expired else "ACTIVE",
        )

    def submit(self, request: SignRequest) -> str:
        """Sign at once; see `CertificateAuthority.submit`."""
        serial = self._serial(request)
        path = self._issued(serial)
        if not path.exists():
            certificate = self._sign(request, serial)
            try:
                publish_durably(self._keys.folder / "partial", path, certificate.public_bytes(Encoding.PEM))
            except OSError as error:
                raise _disk_unavailable(path, error) from error
        return self._reference(serial)

    def recover(self, request: SignRequest, *, since: datetime, asked_at: datetime, now: datetime) -> Recovery:
        """Look on the disk; see `CertificateAuthority.recover`."""
        serial = self._serial(request)
        return Candidates((self._reference(serial),) if self._issued(serial).exists() else ())

    def collect(self, reference: str) -> SignedCertificate | None:
        """The certificate that `submit` made; see `CertificateAuthority.collect`."""
        match = _REFERENCE.fullmatch(reference)
        if match is None or match[1] != self._trust_domain:
            raise RequestRefused(
                "unknown_reference",
                f"{reference!r} is not a reference of the local CA of {self._trust_domain}.",
            )
        path = self._issued(int(match[2], 16))
        try:
            certificate_pem = path.read_text(encoding="ascii")
        except FileNotFoundError:
            raise RequestRefused(
                "unknown_reference", f"The local CA never issued {reference}; request the certificate again."
            ) from None
        except OSError as error:
            raise _disk_unavailable(path, error) from error
        return SignedCertificate(certificate_pem=certificate_pem, chain_pem=self._chain_pem)

    def revoke(self, serial_hex: str, reason: RevocationReason) -> None:
        """Record the revocation on disk; see `CertificateAuthority.revoke`."""
        if not _SERIAL.fullmatch(serial_hex) or not self._issued(int(serial_hex, 16)).exists():
            raise RequestRefused(
                "unknown_serial",
                f"The local CA of {self._trust_domain} never issued serial number {serial_hex[:80]!r}.",
            )
        path = self._keys.folder / "revoked" / f"{serial_hex}.json"
        if path.exists():
            return
        entry = {"serial": serial_hex, "reason": reason.value, "revoked_at": self._clock().isoformat()}
        try:
            publish_durably(self._keys.folder / "partial", path, json.dumps(entry).encode())
        except OSError as error:
            raise _disk_unavailable(path, error) from error

    @cached_property
    def _keys(self) -> TrustDomainKeys:
        return open_or_create(self._directory, self._trust_domain, self._secret, self._clock())

    @cached_property
    def _chain_pem(self) -> str:
        return _pem(self._keys.issuing.certificate) + _pem(self._keys.root.certificate)

    @cached_property
    def _authority_key_identifier(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._keys.issuing.key.public_key())

    def _reference(self, serial: int) -> str:
        return f"local:{self._trust_domain}:{serial:x}"

    def _issued(self, serial: int) -> Path:
        name = f"{serial:x}"
        return self._keys.folder / "issued" / name[-2:] / f"{name}.pem"

    def _serial(self, request: SignRequest) -> int:
        # Everything that decides the certificate is in it: requests that differ never share a serial number.
        content = json.dumps(
            [
                request.token,
                request.csr.sha256,
                request.profile.name,
                request.subject,
                request.dns_names,
                request.not_before.timestamp(),
                request.not_after.timestamp(),
            ]
        )
        return shaped_serial(hmac.digest(self._keys.serial_key, content.encode(), hashlib.sha256))

    def _sign(self, request: SignRequest, serial: int) -> x509.Certificate:
        issuing = self._keys.issuing
        if request.not_after > issuing.certificate.not_valid_after_utc:
            raise RequestRefused(
                "validity",
                f"The certificate would end {request.not_after:%Y-%m-%d}, after its issuing CA "
                f"({issuing.certificate.not_valid_after_utc:%Y-%m-%d}); ask for a shorter one.",
            )
        subject = _subject(request)
        alternative_names = _alternative_names(request)
        public_key = request.csr.public_key
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuing.certificate.subject)
            .public_key(public_key)
            .serial_number(serial)
            .not_valid_before(request.not_before)
            .not_valid_after(request.not_after)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(request.profile, public_key), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(self._authority_key_identifier, critical=False)
        )
        if request.profile.extended_key_usages:
            usages = [x509.ObjectIdentifier(dotted) for dotted in request.profile.extended_key_usages]
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if alternative_names:
            builder = builder.add_extension(alternative_names, critical=False)
        return builder.sign(issuing.key, hashes.SHA256(), ecdsa_deterministic=True)


def _subject(request: SignRequest) -> x509.Name:
    pairs = request.csr.subject if request.subject is None else request.subject
    if not pairs:
        raise RequestRefused("empty_subject", "The CSR has no subject, and none was given to certify.")
    try:
        name = x509.Name(
            [
                x509.NameAttribute(x509.ObjectIdentifier(OBJECT_IDENTIFIERS.get(short, short)), value)
                for short, value in pairs
            ]
        )
        name.public_bytes()
    except ValueError as error:
        raise RequestRefused("subject", f"The subject cannot be certified: {error}.") from None
    return name


def _alternative_names(request: SignRequest) -> x509.SubjectAlternativeName | None:
    wanted = request.profile.alternative_names is AlternativeNames.DNS_OF_REQUEST
    if wanted != bool(request.dns_names):
        raise RequestRefused(
            "alternative_names",
            f"The profile {request.profile.name} needs a host name to certify, and none was given."
            if wanted
            else f"The profile {request.profile.name} certifies no host names, and some were given.",
        )
    if not wanted:
        return None
    try:
        return x509.SubjectAlternativeName([x509.DNSName(name) for name in request.dns_names])
    except ValueError as error:
        raise RequestRefused("alternative_names", f"A host name cannot be certified: {error}.") from None


def _key_usage(profile: EndEntityProfile, public_key: object) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=KeyUsage.DIGITAL_SIGNATURE in profile.key_usages,
        content_commitment=False,
        key_encipherment=KeyUsage.KEY_ENCIPHERMENT in profile.key_usages and isinstance(public_key, rsa.RSAPublicKey),
        data_encipherment=False,
        key_agreement=KeyUsage.KEY_AGREEMENT in profile.key_usages
        and isinstance(public_key, ec.EllipticCurvePublicKey),
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode("ascii")


def _disk_unavailable(path: Path, error: OSError) -> AuthorityUnavailable:
    return AuthorityUnavailable(
        f"The local CA cannot use {path.parent}: {error.strerror}. Free space or restore its rights; the "
        "request is repeated."
    )
