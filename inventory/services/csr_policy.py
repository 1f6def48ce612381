"""What a certificate signing request must be before a CA sees it (FR-005), and a certificate that others had issued.

Proof of possession is checked while parsing; here it is bound to the authoritative identity, its key and its wishes
are checked. Whatever extensions it asks for, the certificate's come from our profile; a request for powers that it
may not have is refused all the same, because it says something about its sender.
"""

from dataclasses import dataclass
from datetime import datetime

from bfcerts.pki.certificates import ParsedCertificate
from bfcerts.pki.csr import CsrError, ParsedCsr, parse_csr
from bfcerts.pki.keys import SMALLEST_RSA_EXPONENT, weak_rsa_exponent
from bfcerts.rows import insert
from inventory.choices import SubjectKind, SubjectRule
from inventory.errors import CsrRejectedError
from inventory.models import LifecyclePolicy, ManagedIdentity, PublicKeyOwner
from inventory.purposes import Purpose
from inventory.services import policies

NAMING_ATTRIBUTES = frozenset({"serialNumber", "UID"})
"""Attributes beside the common name by which others recognise a subject."""

CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"
SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
_EXPECTED_USAGES = {
    "charger_identity": {CLIENT_AUTH},
    "vehicle_vas_identity": {CLIENT_AUTH},
    "iso15118_evse_leaf": {SERVER_AUTH, CLIENT_AUTH},
    "backend_server": {SERVER_AUTH},
}


@dataclass(frozen=True, slots=True)
class BoundCsr:
    """A request that passed, and how it was bound to the identity."""

    csr: ParsedCsr
    bound_by: str


@dataclass(frozen=True, slots=True)
class _Content:
    """What a request asks for, or a certificate has, as far as both are held to the same rules."""

    kind: str
    verb: str
    subject: tuple[tuple[str, str], ...]
    common_names: tuple[str, ...]
    subject_text: str
    key_algorithm: str
    public_key: object
    extended_key_usages: tuple[str, ...]
    alternative_names: tuple[str, ...]


def _of_request(csr: ParsedCsr) -> _Content:
    return _Content(
        "request",
        "asks for",
        csr.subject,
        csr.common_names,
        csr.subject_text,
        csr.key_algorithm,
        csr.public_key,
        csr.requested_extended_key_usages,
        csr.subject_alternative_names,
    )


def _of_certificate(leaf: ParsedCertificate) -> _Content:
    return _Content(
        "certificate",
        "has",
        leaf.subject,
        leaf.common_names,
        leaf.subject_text,
        leaf.key_algorithm,
        leaf.public_key,
        leaf.extended_key_usages,
        leaf.subject_alternative_names,
    )


def _accepted_names(identity: ManagedIdentity) -> dict[str, str]:
    """The common names that speak for an identity, each with what it is."""
    names = {identity.authoritative_identifier: "authoritative identifier"}
    if identity.kind != SubjectKind.CHARGER:
        return names
    rule = identity.family.subject_rule if identity.family else SubjectRule.EITHER
    names = {}
    if rule in (SubjectRule.STATION_ID, SubjectRule.EITHER):
        names[identity.authoritative_identifier] = "charge point id"
    if rule in (SubjectRule.SERIAL_NUMBER, SubjectRule.EITHER) and identity.serial_number:
        names.setdefault(identity.serial_number, "serial number")
    return names


def _check_subject(content: _Content, identity: ManagedIdentity) -> str:
    if len(content.common_names) != 1:
        raise CsrRejectedError(
            "subject",
            f"The {content.kind}'s subject “{content.subject_text}” has {len(content.common_names)} common names; it "
            "needs exactly one, naming the identity.",
        )
    (name,) = content.common_names
    accepted = _accepted_names(identity)
    if name not in accepted:
        expected = " or ".join(f"“{value}” ({what})" for value, what in accepted.items()) or "a serial number on record"
        raise CsrRejectedError(
            "identity_mismatch",
            f"The {content.kind}'s common name “{name}” does not name {identity.authoritative_identifier}: expected "
            f"{expected}. Correct the device's configuration or our record of it.",
        )
    foreign = [value for short, value in content.subject if short in NAMING_ATTRIBUTES and value not in accepted]
    if foreign and identity.kind == SubjectKind.CHARGER:
        foreign = [value for value in foreign if value != identity.serial_number]
    if foreign:
        raise CsrRejectedError(
            "identity_mismatch",
            f"The {content.kind}'s subject “{content.subject_text}” also names “{foreign[0]}”, which is not "
            f"{identity.authoritative_identifier}: a certificate speaks for one identity.",
        )
    return accepted[name]


def _check_powers(content: _Content, identity: ManagedIdentity, purpose: Purpose) -> None:
    expected = _EXPECTED_USAGES.get(purpose.key)
    foreign = set(content.extended_key_usages) - expected if expected is not None else set()
    if foreign:
        raise CsrRejectedError(
            "foreign_key_usage",
            f"The {content.kind} {content.verb} extended key usages that {purpose.label} certificates never have: "
            f"{', '.join(sorted(foreign))}.",
        )
    allowed = {f"DNS:{name}" for name in (identity.authoritative_identifier, identity.serial_number) if name}
    surprising = [name for name in content.alternative_names if name not in allowed]
    if surprising:
        raise CsrRejectedError(
            "surprising_names",
            f"The {content.kind} {content.verb} alternative names that are not {identity.authoritative_identifier}'s: "
            f"{', '.join(surprising[:5])}.",
        )


def _check_key(content: _Content, policy: LifecyclePolicy) -> None:
    if content.key_algorithm not in policy.allowed_key_algorithms:
        raise CsrRejectedError(
            "key_not_allowed",
            f"The {content.kind}'s key is {content.key_algorithm}; the policy “{policy.name}” allows "
            f"{', '.join(policy.allowed_key_algorithms)}.",
        )
    if (exponent := weak_rsa_exponent(content.public_key)) is not None:
        raise CsrRejectedError(
            "weak_exponent",
            f"The {content.kind}'s RSA key has the public exponent {exponent}; make a key with "
            f"{SMALLEST_RSA_EXPONENT}.",
        )


def check_csr(text: str, *, identity: ManagedIdentity, purpose: Purpose, policy: LifecyclePolicy) -> BoundCsr:
    """Parse a request, check it against policy and bind it to the identity. Changes nothing.

    :raises CsrRejectedError: with the rule that it broke and the sentence for the operator.
    """
    try:
        csr = parse_csr(text)
    except CsrError as error:
        raise CsrRejectedError(error.code, f"The certificate signing request cannot be used: {error}") from None
    content = _of_request(csr)
    _check_key(content, policy)
    if csr.weak_signature:
        raise CsrRejectedError("weak_signature", "The request is signed with a broken digest; use SHA-256 or better.")
    bound_by = _check_subject(content, identity)
    if csr.requests_ca:
        raise CsrRejectedError(
            "requests_ca", "The request asks for a CA certificate (CA:TRUE); a device never gets one."
        )
    _check_powers(content, identity, purpose)
    return BoundCsr(csr, bound_by)


def check_certificate(
    leaf: ParsedCertificate, *, identity: ManagedIdentity, purpose: Purpose, policy: LifecyclePolicy, now: datetime
) -> None:
    """Hold a certificate that others had issued to what its request would have had to be. Changes nothing.

    A certificate opens a door in the name of its identity, so it must name that one and no other, and may not be good
    for longer than one that we would issue now.

    :raises CsrRejectedError: with the rule that it broke and the sentence for the operator.
    """
    content = _of_certificate(leaf)
    _check_key(content, policy)
    _check_subject(content, identity)
    _check_powers(content, identity, purpose)
    if policy.validity is not None and leaf.not_after > now + policy.validity:
        raise CsrRejectedError(
            "valid_too_long",
            f"The certificate ends {leaf.not_after:%Y-%m-%d}; the policy “{policy.name}” allows {policy.validity.days} "
            "days from now.",
        )


def check_given_csr(text: str, *, identity: ManagedIdentity, purpose: Purpose) -> None:
    """Check a request that somebody gives with a command, before a job is opened for it. Changes nothing.

    The job's own check, and the PKI worker's, come on top of it.

    :raises CsrRejectedError: with the rule that it broke and the sentence for the operator.
    :raises InventoryError: when no policy applies.
    """
    policy = policies.resolve(identity, purpose.key).policy
    bound = check_csr(text, identity=identity, purpose=purpose, policy=policy)
    _check_key_owner(bound.csr.public_key_sha256, identity)


def claim_public_key(public_key_sha256: str, identity: ManagedIdentity) -> None:
    """Make a public key this identity's, for ever.

    :raises CsrRejectedError: when another identity has used the key.
    """
    claim = PublicKeyOwner(public_key_sha256=public_key_sha256, identity=identity)
    if not insert(claim, unless_known=True):
        _check_key_owner(public_key_sha256, identity)


def _check_key_owner(public_key_sha256: str, identity: ManagedIdentity) -> None:
    owner = PublicKeyOwner.objects.select_related("identity").filter(public_key_sha256=public_key_sha256).first()
    if owner is not None and owner.identity_id != identity.pk:
        raise CsrRejectedError(
            "key_of_another_identity",
            f"The request's key has been used by another identity ({owner.identity.authoritative_identifier}); every "
            "device makes a key of its own.",
        )
