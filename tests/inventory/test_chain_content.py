"""What stands in CertificateSigned: some stations want the root in the chain, others refuse it (conformance 4)."""

import pytest

from bfcerts.ocpp.canonical import Action
from bfcerts.pki.certificates import parse_certificate, split_chain
from inventory.choices import ChainContent
from inventory.models import ChargerFamily, IssuingAuthority
from inventory.services import catalogue
from tests.support import OPERATOR, ControlPlane, charger, request_for

pytestmark = pytest.mark.django_db


def delivered_to(plane: ControlPlane, family: ChargerFamily | None) -> list[str]:
    """The fingerprints of the chain that a charger of this family is sent."""
    identity = charger("CS-1", family=family)
    plane.send_csr(identity, request_for("CS-1"))
    plane.work()
    command = plane.open_command(identity, Action.DELIVER_CERTIFICATE)
    return [parse_certificate(part).fingerprint_sha256 for part in split_chain(command.payload["chain"])]


def family(content: ChainContent) -> ChargerFamily:
    entry = ChargerFamily(name="Acme 7", vendor="Acme", model="7", chain_content=content)
    return catalogue.save(entry=entry, actor=OPERATOR, reason="test")


def authority() -> tuple[str, str]:
    """The fingerprints of the issuing CA and of its root."""
    published = IssuingAuthority.objects.get(trust_domain="charger_identity")
    return published.fingerprint, parse_certificate(published.root_pem).fingerprint_sha256


def test_a_family_that_wants_it_gets_the_root_at_the_end_of_the_chain(plane: ControlPlane) -> None:
    _, *above = delivered_to(plane, family(ChainContent.LEAF_TO_ROOT))

    assert tuple(above) == authority()


@pytest.mark.parametrize("content", [None, ChainContent.LEAF_AND_INTERMEDIATES])
def test_the_others_get_no_root(plane: ControlPlane, content: ChainContent | None) -> None:
    _, *above = delivered_to(plane, family(content) if content else None)

    issuing, root = authority()
    assert above == [issuing]
    assert root not in above
