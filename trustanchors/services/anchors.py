"""Taking in trust anchors: read, checked, and kept in one trust domain for ever."""

from datetime import datetime

from django.db import IntegrityError, transaction
from django.utils import timezone

from bfcerts.pki.anchors import AnchorError, check_anchor
from bfcerts.pki.certificates import CertificateError, ParsedCertificate, parse_certificate, split_chain
from bfcerts.pki.hash_data import ALGORITHMS, certificate_hash_data
from inventory.actors import Actor
from inventory.models import IssuingAuthority
from inventory.purposes import Purpose, purpose
from inventory.services.command import command
from trustanchors.errors import AnchorRefusedError
from trustanchors.models import TrustAnchor

LONGEST_FOR_A_STATION = 5500
"""Characters of InstallCertificate.certificate (OCPP 2.0.1, InstallCertificateRequest)."""


def add(
    *,
    certificate_pem: str,
    purpose_key: str,
    name: str = "",
    actor: Actor,
    reason: str,
    now: datetime | None = None,
) -> TrustAnchor:
    """Take in one CA certificate as an anchor of a purpose's trust domain.

    :param name: for people; the certificate's common name where there is none.
    :raises AnchorRefusedError: when it is no CA's, expired, weak, known already, or of another trust domain.
    :raises PurposeError: for a purpose that is unknown or reserved.
    """
    now = now or timezone.now()
    with command(actor, "trustanchors.add_trustanchor", reason):
        entry = purpose(purpose_key)
        certificate = _read(certificate_pem, now)
        _check_is_new(certificate, entry)
        _check_trust_domain(certificate, entry)
        anchor = TrustAnchor(
            purpose=entry.key,
            trust_domain=entry.trust_domain,
            name=(name.strip() or next(iter(certificate.common_names), "") or certificate.subject_text)[:120],
            certificate_pem=certificate.pem,
            fingerprint=certificate.fingerprint_sha256,
            public_key_sha256=certificate.public_key_sha256,
            subject=certificate.subject_text,
            issuer=certificate.issuer_text,
            serial_number=certificate.serial_hex,
            key_algorithm=certificate.key_algorithm,
            self_signed=certificate.self_signed,
            not_before=certificate.not_before,
            not_after=certificate.not_after,
            hash_data=_hash_data(certificate, entry),
            created_at=now,
        )
        try:
            with transaction.atomic():
                anchor.save()
        except IntegrityError:
            raise AnchorRefusedError(
                "known_already", f"{anchor.subject} was added by somebody else just now. Look at the list."
            ) from None
    return anchor


def _read(text: str, now: datetime) -> ParsedCertificate:
    try:
        if text.count("-----BEGIN") > 1 and len(split_chain(text)) > 1:
            raise AnchorRefusedError("several", "This holds several certificates. Add each anchor on its own.")
        certificate = parse_certificate(text)
        check_anchor(certificate, now)
    except (CertificateError, AnchorError) as error:
        raise AnchorRefusedError(error.code, error.message) from None
    if len(certificate.pem) > LONGEST_FOR_A_STATION:
        raise AnchorRefusedError(
            "too_large",
            f"{certificate.subject_text} has {len(certificate.pem)} characters in PEM; a station takes "
            f"{LONGEST_FOR_A_STATION} at most (OCPP 2.0.1, InstallCertificate).",
        )
    return certificate


def _check_is_new(certificate: ParsedCertificate, entry: Purpose) -> None:
    known = TrustAnchor.objects.filter(fingerprint=certificate.fingerprint_sha256).first()
    if known is None:
        return
    if known.trust_domain != entry.trust_domain:
        raise _foreign(certificate, entry, f"an anchor of {known.get_purpose_display()}")
    raise AnchorRefusedError(
        "known_already", f"{known.subject} is an anchor already: {known.name}. Put that one into the bundle."
    )


def _check_trust_domain(certificate: ParsedCertificate, entry: Purpose) -> None:
    """No anchor of one trust domain is ever used for another (NFR-004): neither the certificate nor its key."""
    others = TrustAnchor.objects.exclude(trust_domain=entry.trust_domain)
    same_key = others.filter(public_key_sha256=certificate.public_key_sha256).first()
    if same_key is not None:
        raise _foreign(certificate, entry, f"the same key as {same_key.name}, of {same_key.get_purpose_display()}")
    for authority in IssuingAuthority.objects.exclude(trust_domain=entry.trust_domain):
        if certificate.public_key_sha256 in {one.public_key_sha256 for one in _certificates_of(authority)}:
            raise _foreign(certificate, entry, f"a CA of the trust domain {authority.trust_domain}: {authority.name}")


def _foreign(certificate: ParsedCertificate, entry: Purpose, what: str) -> AnchorRefusedError:
    return AnchorRefusedError(
        "foreign_trust_domain",
        f"{certificate.subject_text} is {what}. Trust domains never mix: {entry.label} needs an anchor of its own.",
    )


def _certificates_of(authority: IssuingAuthority) -> list[ParsedCertificate]:
    return [parse_certificate(pem) for pem in split_chain(authority.chain_pem + authority.root_pem)]


def _hash_data(certificate: ParsedCertificate, entry: Purpose) -> dict[str, dict[str, str]]:
    issuer = certificate if certificate.self_signed else _issuer_of(certificate, entry)
    return {algorithm: certificate_hash_data(certificate, issuer, algorithm) for algorithm in ALGORITHMS}


def _issuer_of(certificate: ParsedCertificate, entry: Purpose) -> ParsedCertificate:
    """Stations name a certificate by its issuer's key, so the issuer of an intermediate has to be known."""
    anchors = TrustAnchor.objects.filter(trust_domain=entry.trust_domain, subject=certificate.issuer_text)
    known = [parse_certificate(anchor.certificate_pem) for anchor in anchors]
    for authority in IssuingAuthority.objects.filter(trust_domain=entry.trust_domain):
        known += _certificates_of(authority)
    issuer = next((one for one in known if certificate.signed_by(one)), None)
    if issuer is None:
        raise AnchorRefusedError(
            "issuer_unknown",
            f"{certificate.subject_text} is no root, and its issuer {certificate.issuer_text} is not known here. Add "
            "the issuer as an anchor first.",
        )
    return issuer
