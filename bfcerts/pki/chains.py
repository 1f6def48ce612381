"""Paths from a leaf to an anchor, linked by issuer and verified signature, never by the order they came in.

Answers of CAs hold their certificates in any order (a DER-sorted PKCS #7 SET came back root first), beside
unrelated ones, and with the root or without it. Checks are RFC 5280 §6.1 as far as our trust domains use it;
a critical extension that they leave out of account is refused. cryptography's own path validation follows the
web's rules and refuses the ED448 keys of ISO 15118-20.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from bfcerts.pki.certificates import ParsedCertificate

# More than any PKI of the domain has; a hostile answer cannot make us verify signatures without end.
LONGEST_PATH = 8
MOST_CANDIDATES = 40


class ChainError(ValueError):
    """A certificate that may not become an issued record.

    :ivar code: signature, key_mismatch, wrong_key_usage, not_valid, wrong_trust_domain, is_ca or outlives.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def order_chain(leaf: ParsedCertificate, candidates: Sequence[ParsedCertificate]) -> list[ParsedCertificate]:
    """The leaf and, of the candidates, its issuer, that one's issuer and so on.

    Ends with a self-signed root where one is among them, else with the last issuer found. What does not link
    is dropped. Of several certificates of one issuing key the one that ends last is taken.
    """
    path = [leaf]
    remaining = _distinct(candidates, without=path)
    while len(path) < LONGEST_PATH and not path[-1].self_signed:
        issuers = [one for one in remaining if path[-1].signed_by(one)]
        if not issuers:
            break
        path.append(max(issuers, key=lambda one: (one.not_after, one.fingerprint_sha256)))
        remaining.remove(path[-1])
    return path


def verify_issued(
    *,
    leaf: ParsedCertificate,
    chain: Sequence[ParsedCertificate],
    anchors: Collection[ParsedCertificate],
    now: datetime,
    public_key_sha256: str | None,
    extended_key_usages: Collection[str],
    not_after_limit: datetime | None,
) -> list[ParsedCertificate]:
    """Check what a CA returned before it is recorded as issued.

    :param chain: what the CA sent beside the leaf, in any order.
    :param anchors: the roots of this trust domain, and of no other.
    :param public_key_sha256: digest of the key that was asked for; None where no CSR was ours.
    :param extended_key_usages: exactly these, as dotted OIDs; none given, none checked.
    :param not_after_limit: the latest end that was asked for.
    :returns: the path from the leaf to an anchor, both included.
    :raises ChainError: with the first fault found.
    """
    _check_leaf(leaf, now, public_key_sha256, extended_key_usages, not_after_limit)
    trusted = {anchor.fingerprint_sha256 for anchor in anchors}
    candidates = _distinct([*anchors, *chain], without=[leaf])
    paths = [[leaf]]
    faults: list[ChainError] = []
    while paths:
        path = paths.pop(0)
        named = [one for one in candidates if one.subject_der == path[-1].issuer_der]
        issuers = [one for one in named if path[-1].signed_by(one)]
        if named and not issuers:
            faults.append(
                ChainError(
                    "signature",
                    f"The signature in {path[-1].subject_text} was not made by {named[0].subject_text}, "
                    "which it names as its issuer.",
                )
            )
        for issuer in issuers:
            candidates.remove(issuer)
            fault = _fault_of_issuer(issuer, below=len(path) - 1, now=now)
            if fault is not None:
                faults.append(fault)
            elif issuer.fingerprint_sha256 in trusted:
                return [*path, issuer]
            elif len(path) < LONGEST_PATH:
                paths.append([*path, issuer])
    raise (
        faults[0]
        if faults
        else ChainError(
            "wrong_trust_domain",
            f"No path leads from {leaf.subject_text}, issued by {leaf.issuer_text}, to an anchor of this trust domain.",
        )
    )


def stack(path: Iterable[ParsedCertificate], include_root: bool) -> str:
    """PEM of a path, leaf first, as CertificateSigned carries it (OCPP 2.0.1 A02); the root if wanted."""
    return "".join(one.pem for position, one in enumerate(path) if position == 0 or include_root or not one.self_signed)


def _check_leaf(
    leaf: ParsedCertificate,
    now: datetime,
    public_key_sha256: str | None,
    extended_key_usages: Collection[str],
    not_after_limit: datetime | None,
) -> None:
    name = leaf.subject_text
    if leaf.is_ca or "key_cert_sign" in (leaf.key_usages or ()):
        raise ChainError("is_ca", f"The certificate of {name} is one of a CA and could issue others.")
    if public_key_sha256 is not None and leaf.public_key_sha256 != public_key_sha256:
        raise ChainError("key_mismatch", f"The certificate of {name} holds another key than its CSR.")
    if extended_key_usages and set(leaf.extended_key_usages) != set(extended_key_usages):
        raise ChainError(
            "wrong_key_usage",
            f"The certificate of {name} is for {_listed(leaf.extended_key_usages)}, "
            f"but exactly {_listed(extended_key_usages)} was asked for.",
        )
    if leaf.key_usages is not None and "digital_signature" not in leaf.key_usages:
        raise ChainError("wrong_key_usage", f"The key of {name} may not be used for signatures.")
    if leaf.not_understood:
        raise ChainError(
            "wrong_key_usage",
            f"The certificate of {name} has critical extensions that nothing here knows: "
            f"{_listed(leaf.not_understood)}.",
        )
    _check_time(leaf, now)
    if not_after_limit is not None and leaf.not_after > not_after_limit:
        raise ChainError(
            "outlives",
            f"The certificate of {name} ends {leaf.not_after:%Y-%m-%d %H:%M:%S} UTC, "
            f"later than {not_after_limit:%Y-%m-%d %H:%M:%S} UTC, the end that was asked for.",
        )


def _fault_of_issuer(issuer: ParsedCertificate, *, below: int, now: datetime) -> ChainError | None:
    name = issuer.subject_text
    if not issuer.is_ca or (issuer.key_usages is not None and "key_cert_sign" not in issuer.key_usages):
        return ChainError("wrong_key_usage", f"{name} signed a certificate but is not a CA.")
    if issuer.path_length is not None and below > issuer.path_length:
        return ChainError("wrong_key_usage", f"{name} allows {issuer.path_length} CAs below it, not {below}.")
    if issuer.not_understood:
        return ChainError(
            "wrong_key_usage",
            f"{name} has critical extensions that nothing here knows: {_listed(issuer.not_understood)}.",
        )
    try:
        _check_time(issuer, now)
    except ChainError as fault:
        return fault
    return None


def _check_time(certificate: ParsedCertificate, now: datetime) -> None:
    if not certificate.not_before <= now <= certificate.not_after:
        raise ChainError(
            "not_valid",
            f"The certificate of {certificate.subject_text} is valid from "
            f"{certificate.not_before:%Y-%m-%d %H:%M:%S} to {certificate.not_after:%Y-%m-%d %H:%M:%S} UTC, "
            f"and it is now {now:%Y-%m-%d %H:%M:%S} UTC.",
        )


def _distinct(
    certificates: Iterable[ParsedCertificate], *, without: Collection[ParsedCertificate]
) -> list[ParsedCertificate]:
    unique = dict.fromkeys(one for one in certificates if one not in without)
    return list(unique)[:MOST_CANDIDATES]


def _listed(values: Collection[str]) -> str:
    return ", ".join(sorted(values)) or "nothing in particular"
