"""A change of our own server certificate: under which root it would be, and who could not reconnect then.

A renewal under the root that is presented now changes nothing for chargers, whatever its intermediates: they get those
from us. Under another root it waits until nobody would be locked out, or somebody overrides the forecast.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import islice

from bfcerts.pki.certificates import CertificateError, parse_ca_certificate, parse_certificate, split_chain
from bfcerts.pki.chains import order_chain
from inventory.errors import InvalidInputError
from inventory.models import IssuingAuthority, ManagedIdentity
from inventory.seams import Gated
from inventory.words import counted
from trustanchors.models import TrustAnchor
from trustanchors.services import coverage, lock_out
from trustanchors.services.lock_out import SHOWN, ServerCertificateChange


def gate(action: Gated, identities: Sequence[ManagedIdentity], now: datetime) -> dict[int, str]:
    """Why listeners get no certificate under the root that their CA has now; where they may, there is no entry."""
    why = _why_not_now(now) if action == Gated.SERVER_CERTIFICATE else None
    return {identity.pk: why for identity in identities} if why is not None else {}


def _why_not_now(now: datetime) -> str | None:
    presented = {root.fingerprint for root in coverage.presented_roots()}
    coming = coverage.coming_roots()
    fingerprints = frozenset(root.fingerprint for root in coming)
    if not presented or not fingerprints or fingerprints <= presented:
        return None
    # No more than are named: so a look ends early where there is a reason, however large the fleet is.
    locked_out = list(islice(lock_out.after_server_change(ServerCertificateChange(fingerprints), now), SHOWN + 1))
    if not locked_out:
        return None
    names = " and ".join(root.subject for root in coming)
    number = counted(len(locked_out), "charger") if len(locked_out) <= SHOWN else f"more than {SHOWN} chargers"
    return (
        f"it would be under another root, {names}, and {number} could not reconnect: "
        f"{lock_out.in_words(iter(locked_out))} Release that root to them first, or run its job now with the forecast "
        "overridden, if you have the permission to."
    )


def change_to(chain_pem: str) -> ServerCertificateChange:
    """The change to a chain that our listeners are to present, leaf first, with or without its root.

    :raises InvalidInputError: when it is no chain, or its root is neither in it nor known here.
    """
    try:
        leaf, *above = [parse_certificate(pem) for pem in split_chain(chain_pem)]
    except CertificateError as error:
        raise InvalidInputError(
            f"That is no chain that our listeners could present: {error} Give the leaf first, then what is above it."
        ) from None
    top = order_chain(leaf, above)[-1]
    if not top.self_signed:
        known = [parse_ca_certificate(pem) for pem in _known_roots(top.issuer_text)]
        top = order_chain(top, known)[-1]
    if not top.self_signed:
        raise InvalidInputError(
            f"The chain ends at {top.subject_text}, whose issuer, {top.issuer_text}, is neither in it nor among the "
            "anchors. Add that root to the chain, or to the anchors."
        )
    return ServerCertificateChange(frozenset({top.fingerprint_sha256}))


def _known_roots(subject: str) -> list[str]:
    anchors = TrustAnchor.objects.filter(subject=subject, self_signed=True).values_list("certificate_pem", flat=True)
    published = IssuingAuthority.objects.values_list("root_pem", flat=True)
    return [*anchors, *(pem for text in published for pem in split_chain(text))]
