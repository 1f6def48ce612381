"""What the pools answer, held to the published documents; and their own examples, put into the pools."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bfcerts.pki.certificates import ParsedCertificate, parse_certificate
from inventory.errors import InvalidInputError
from provisioning.models import PoolRoot
from provisioning.pools import roots
from provisioning.pools.exi import certificates_in, looks_like_exi
from provisioning.pools.shown import root_as_shown
from tests.provisioning import opcp_documents
from tests.provisioning.test_contract_pool import asked
from tests.provisioning.world import EMAID, PCID, World
from tests.support import OPERATOR

CERTIFICATES = Path(__file__).parents[3] / "shared" / "data" / "opcp-certificates"


def test_answers_are_what_the_documents_say(world: World) -> None:
    car = world.car_in_pool()
    stored = world.oem.put("oem/provCerts", {**car.body, "v2gRootAuthorityKeyIdentifiers": ["4F:13"]})
    world.published()
    root = world.roots["OEM"].public_id
    ccp, pcp, rcp = "/v1/ccp", "/v1/oem/provCerts", "/v1/root/rootCerts"
    calls: list[tuple[str, str, str, str, Any]] = [
        ("ccp.v1", f"{ccp}/signedContractData", "post", "200", asked(world.cpo, car)),
        ("ccp.v1", f"{ccp}/signedContractData", "post", "400", world.cpo.post("ccp/signedContractData", {})),
        ("ccp.v1", f"{ccp}/signedContractData", "put", "400", world.mo.put("ccp/signedContractData", {})),
        ("ccp.v1", f"{ccp}/signedContractData/{{pcid}}", "get", "200", world.oem.get(f"ccp/signedContractData/{PCID}")),
        ("ccp.v1", f"{ccp}/lookupContract/{{emaid}}", "get", "200", world.mo.get(f"ccp/lookupContract/{EMAID}")),
        (
            "ccp.v1",
            f"{ccp}/provideSignedContractData/{{emaid}}/{{pcid}}",
            "get",
            "200",
            world.oem.get(f"ccp/provideSignedContractData/{EMAID}/{PCID}"),
        ),
        (
            "ccp.v1",
            f"{ccp}/signedContractData/{{emaid}}",
            "delete",
            "404",
            world.mo.delete("ccp/signedContractData/DE8AA999999999"),
        ),
        ("pcp.v1", pcp, "put", "200", stored),
        ("pcp.v1", f"{pcp}/{{pcid}}", "get", "200", world.mo.get(f"oem/provCerts/{PCID}")),
        ("pcp.v1", f"{pcp}/{{pcid}}", "get", "404", world.mo.get("oem/provCerts/WVW99999999999999")),
        ("pcp.v1", f"{pcp}/{{pcid}}", "get", "400", world.mo.get("oem/provCerts/short")),
        ("rcp.v1", rcp, "get", "200", world.cpo.get("root/rootCerts")),
        ("rcp.v1", f"{rcp}/{{rootCertificateId}}", "get", "200", world.cpo.get(f"root/rootCerts/{root}")),
        ("rcp.v1", f"{rcp}/{{rootCertificateId}}", "get", "404", world.cpo.get("root/rootCerts/none")),
    ]

    for name, path, method, status, answer in calls:
        assert str(answer.status_code) == status, (path, answer.content)
        assert opcp_documents.faults(name, path, method, status, json.loads(answer.content)) == [], path


def _texts(node: Any, field: str) -> list[str]:
    if isinstance(node, dict):
        own = [value for name, value in node.items() if name == field and isinstance(value, str)]
        return own + [text for value in node.values() for text in _texts(value, field)]
    return [text for item in node for text in _texts(item, field)] if isinstance(node, list) else []


def published_exi(field: str) -> list[bytes]:
    """The EXI streams in the examples of the documents, where they are present."""
    texts = _texts(opcp_documents.document("ccp.v1") or {}, field)
    return [base64.b64decode(text) for text in texts if len(text) > 1000 and len(text) % 4 == 0]


def test_the_certificates_in_the_published_exi_are_found() -> None:
    present = opcp_documents.FOLDER.exists()
    for stream in published_exi("certificateInstallationRes"):
        found = certificates_in(stream)
        assert looks_like_exi(stream)
        assert any(one.is_ca for one in found)
        assert any(not one.is_ca and one.common_names for one in found)
    assert bool(published_exi("certificateInstallationRes")) == present


def example(name: str) -> ParsedCertificate | None:
    path = CERTIFICATES / name
    return parse_certificate(path.read_text()) if path.exists() else None


@pytest.mark.django_db
@pytest.mark.parametrize(("name", "kind"), [("V2G_Root_CA_G2.pem", "V2G"), ("PnC-OEM-RootCA-2021.pem", "OEM")])
def test_the_published_roots_are_taken_and_shown(name: str, kind: str) -> None:
    certificate = example(name)
    if certificate is None:
        assert not CERTIFICATES.exists()
        return
    root = roots.add(
        certificate=certificate.pem, root_type=kind, actor=OPERATOR, reason="Published", now=datetime.now(UTC)
    )

    shown = root_as_shown(PoolRoot.objects.get(pk=root.pk))

    assert base64.b64decode(shown["caCertificate"]) == certificate.der
    assert shown["validTo"] in ("2059-01-09T19:00:00Z", "9999-12-31T23:59:00Z")
    assert shown["signatureAlgorithm"] == "secp256r1"


@pytest.mark.django_db
def test_a_certificate_that_is_no_root_is_refused_whatever_a_parser_says_of_it() -> None:
    # The signing service's certificate is one that the usual library refuses to read in full.
    for name in ("CPS_2022.2_QA.pem", "MO_Sub1_CA_QA_G1.1.pem"):
        certificate = example(name)
        assert (certificate is None) == (not CERTIFICATES.exists())
        if certificate is not None:
            with pytest.raises(InvalidInputError):
                roots.add(certificate=certificate.pem, root_type="V2G", actor=OPERATOR, reason="x")
