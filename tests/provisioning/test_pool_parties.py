"""Who is in the pools: nodes that a person confirmed, credentials that end, roots and vehicles that verify."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from pytest_django import Settings

from inventory.actors import Actor
from inventory.errors import InvalidInputError, NotPermittedError, TransitionRefusedError
from inventory.models import SecurityEvent
from provisioning.models import PoolChange, PoolContract, PoolCredential, PoolIdentifier, PoolNode, PoolRoot
from provisioning.pools import callers, credentials, nodes, provisioning_certificates, roots
from provisioning.pools.errors import TooManyRequestsError, UnknownCallerError
from tests.admin import given
from tests.pki.material import Issuer
from tests.provisioning.test_contract_pool import said
from tests.provisioning.world import EMAID, OTHER_EMAID, OTHER_PCID, PCID, Speaker, World, der
from tests.support import OPERATOR

pytestmark = pytest.mark.django_db


def opened(**values: Any) -> PoolNode:
    asked = {"name": "M", "role": "mo", "identifiers": ["DE8AA"], "issuing_authority": "BDEW", "reason": "Letter 17"}
    return nodes.open_node(actor=OPERATOR, **{**asked, **values})


def test_a_node_says_who_confirmed_what_when_and_why() -> None:
    now = datetime.now(UTC)
    person = Actor.person(given.person("maria", "provisioning.confirm_poolnode"))

    node = nodes.open_node(
        name="Mobility",
        role="mo",
        identifiers=["de-8aa"],
        issuing_authority="BDEW",
        actor=person,
        reason="Letter of 3 May",
        now=now,
    )

    (identifier,) = node.identifiers.all()
    assert (identifier.value, identifier.issuing_authority) == ("DE8AA", "BDEW")
    assert (identifier.confirmed_by, identifier.confirmed_at, identifier.reason) == (
        "person:maria",
        now,
        "Letter of 3 May",
    )
    assert PoolNode.history.get().actor == "person:maria"


def test_only_whoever_may_confirm_opens_nodes() -> None:
    with pytest.raises(NotPermittedError):
        nodes.open_node(
            name="M",
            role="mo",
            identifiers=["DE8AA"],
            issuing_authority="BDEW",
            actor=Actor.person(given.person("paul")),
            reason="x",
        )
    assert not PoolNode.objects.exists()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"identifiers": []}, "only with a provider id that is confirmed"),
        ({"identifiers": ["D8AA"]}, "is no Provider id"),
        ({"role": "oem", "identifiers": ["WI0"]}, "is no World manufacturer"),
        ({"role": "cps"}, "no identifiers of its own"),
        ({"role": "king"}, "is no role"),
        ({"issuing_authority": " "}, "Say who gives out"),
        ({"reason": " "}, "A reason is needed"),
        ({"name": ""}, "needs a name"),
        ({"requests_per_second": 0.0}, "a rate above 0"),
    ],
)
def test_a_node_that_is_not_confirmed_as_it_has_to_be_does_not_exist(values: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidInputError, match=expected):
        opened(**values)
    assert not PoolNode.objects.exists()


def test_an_identifier_has_one_node() -> None:
    node = opened()
    with pytest.raises(InvalidInputError, match="is M's already"):
        opened(name="Other")
    with pytest.raises(InvalidInputError, match="has a node in this role already"):
        opened(identifiers=["DEXYZ"])
    with pytest.raises(IntegrityError), transaction.atomic():
        PoolIdentifier.objects.bulk_create(
            [
                PoolIdentifier(
                    node=node,
                    kind="provider",
                    value="DE8AA",
                    issuing_authority="x",
                    confirmed_at=datetime.now(UTC),
                    confirmed_by="x",
                    reason="x",
                )
            ]
        )


@pytest.mark.parametrize("field", ["issuing_authority", "confirmed_by", "reason"])
def test_the_database_knows_no_identifier_that_nobody_confirmed(field: str) -> None:
    node = opened()
    values = {"issuing_authority": "x", "confirmed_by": "x", "reason": "x", field: ""}
    with pytest.raises(IntegrityError, match="an_identifier_was_confirmed"), transaction.atomic():
        PoolIdentifier.objects.bulk_create(
            [PoolIdentifier(node=node, kind="provider", value="XX123", confirmed_at=datetime.now(UTC), **values)]
        )


def test_an_identifier_that_ended_opens_nothing_and_can_be_another_nodes(world: World) -> None:
    world.car_in_pool()
    world.published()

    nodes.end_identifier(node=world.mo.node, value="DE8AA", actor=OPERATOR, reason="Sold")

    assert said(world.mo.get(f"ccp/lookupContract/{EMAID}"), 403)
    nodes.confirm_identifier(
        node=world.other_mo.node, value="DE8AA", issuing_authority="BDEW", actor=OPERATOR, reason="Bought"
    )
    assert world.other_mo.get(f"ccp/lookupContract/{EMAID}").status_code == 200
    with pytest.raises(InvalidInputError, match="has no identifier"):
        nodes.end_identifier(node=world.mo.node, value="DE8AA", actor=OPERATOR, reason="Again")


def test_a_node_that_is_closed_is_told_nothing(world: World) -> None:
    nodes.close_node(node=world.cpo.node, actor=OPERATOR, reason="Bankrupt")

    assert "has ended" in said(world.cpo.get("root/rootCerts"), 401)
    with pytest.raises(TransitionRefusedError, match="is closed"):
        world.token(world.cpo.node)
    assert not PoolCredential.objects.filter(node=world.cpo.node, revoked_at=None).exists()


# -- credentials


def test_a_token_is_kept_as_a_digest_only(world: World) -> None:
    token = world.cpo.token

    stored = PoolCredential.objects.get(node=world.cpo.node)

    assert stored.digest == hashlib.sha256(token.encode()).hexdigest()
    assert token not in str(vars(stored))
    assert not hasattr(PoolCredential.history.first(), "digest")


def test_a_credential_opens_what_it_is_for(world: World) -> None:
    narrow = Speaker(world.mo.node, world.token(world.mo.node, "rcpservice"))

    assert narrow.get("root/rootCerts").status_code == 200
    assert "not for the provisioning certificate pool" in said(narrow.get(f"oem/provCerts/{PCID}"), 403)


def test_no_credential_and_a_wrong_one_are_refused_and_told(world: World) -> None:
    answer = Client().get("/opcp/v1/root/rootCerts")
    wrong = Speaker(world.cpo.node, "x" * 43).get("root/rootCerts")

    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "Show a credential" in said(answer, 401)  # type: ignore[arg-type]  # the client's own kind of answer
    assert "is not known" in said(wrong, 401)
    assert SecurityEvent.objects.filter(type="PoolCredentialUnknown").count() == 1


def test_a_credential_that_ended_or_was_revoked_is_refused(world: World) -> None:
    later = datetime.now(UTC) + timedelta(days=31)
    with pytest.raises(UnknownCallerError, match="has ended"):
        callers.known(token=world.cpo.token, certificate_sha256="", address="", now=later)
    credentials.revoke(
        credential=PoolCredential.objects.get(node=world.mo.node), actor=OPERATOR, reason="It was in a log"
    )

    assert "has ended" in said(world.mo.get("root/rootCerts"), 401)
    assert SecurityEvent.objects.filter(type="PoolCredentialEnded").count() == 2


def test_a_client_certificate_is_a_credential_as_long_as_it_lasts(world: World) -> None:
    now = datetime.now(UTC)
    certificate = Issuer("Clients").issue("backend", not_after=now + timedelta(days=10))
    credentials.give_certificate(
        node=world.cpo.node, certificate_pem=certificate.pem, label="gateway", actor=OPERATOR, reason="given"
    )
    shown = certificate.fingerprint_sha256

    assert callers.known(token="", certificate_sha256=shown, address="", now=now).node == world.cpo.node
    with pytest.raises(UnknownCallerError, match="has ended"):
        callers.known(token="", certificate_sha256=shown, address="", now=now + timedelta(days=11))
    with pytest.raises(UnknownCallerError, match="is not known"):
        callers.known(token="", certificate_sha256="0" * 64, address="", now=now)


def test_a_fingerprint_is_no_token_and_a_header_is_no_certificate(world: World) -> None:
    certificate = Issuer("Clients").issue("backend", not_after=datetime.now(UTC) + timedelta(days=10))
    credentials.give_certificate(
        node=world.cpo.node, certificate_pem=certificate.pem, label="gateway", actor=OPERATOR, reason="given"
    )

    for headers in ({"X-SSL-Client-Cert": certificate.pem}, {"X-Client-Fingerprint": certificate.fingerprint_sha256}):
        answer = Client().get("/opcp/v1/root/rootCerts", headers=headers)
        assert answer.status_code == 401
    assert said(Speaker(world.cpo.node, certificate.fingerprint_sha256).get("root/rootCerts"), 401)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"token": "short"}, "A token has 32 to 200"),
        ({"token": "x" * 31 + "ü"}, "A token has 32 to 200"),
        ({"label": ""}, "needs a label"),
        ({"scopes": []}, "none was named"),
        ({"scopes": ["everything"]}, "everything is none of them"),
        ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, "a time that is to come"),
        ({"expires_at": datetime(2099, 1, 1, tzinfo=UTC)}, "a time that is to come"),
    ],
)
def test_a_credential_that_cannot_be_is_not_given(values: dict[str, Any], expected: str) -> None:
    asked = {"token": credentials.generate(), "label": "x", "expires_at": datetime.now(UTC) + timedelta(days=1)}
    with pytest.raises(InvalidInputError, match=expected):
        credentials.give_token(node=opened(), actor=OPERATOR, reason="x", **{**asked, **values})


def test_the_same_token_is_not_given_twice() -> None:
    node, token = opened(), credentials.generate()
    ends = datetime.now(UTC) + timedelta(days=1)
    asked: dict[str, Any] = {"node": node, "token": token, "label": "x", "expires_at": ends}
    credentials.give_token(actor=OPERATOR, reason="x", **asked)

    with pytest.raises(InvalidInputError, match="was given before"):
        credentials.give_token(actor=OPERATOR, reason="x", **asked)


def test_each_node_is_held_to_its_own_rate(world: World) -> None:
    slow = world.speaker("Slow", "cpo", "DESLO")
    PoolNode.objects.filter(pk=slow.node.pk).update(requests_per_second=0.01)

    answers = [slow.get("root/rootCerts") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 429, 429]
    assert int(answers[-1].headers["Retry-After"]) > 1
    assert "asks more than 0.01 times a second" in said(answers[-1], 429)
    assert world.cpo.get("root/rootCerts").status_code == 200


def test_whoever_guesses_tokens_has_to_wait() -> None:
    now = datetime.now(UTC)
    seen = set()
    for number in range(40):
        try:
            callers.known(token=f"guess {number}", certificate_sha256="", address="10.1.1.1", now=now)
        except (TooManyRequestsError, UnknownCallerError) as error:
            seen.add(type(error))
    assert seen == {TooManyRequestsError, UnknownCallerError}


def test_the_pools_are_not_there_where_they_are_switched_off(world: World, settings: Settings) -> None:
    settings.CONFIGURATION = settings.CONFIGURATION.model_copy(update={"pools_enabled": False})

    assert world.cpo.get("root/rootCerts").status_code == 404


# -- roots


def test_roots_are_listed_and_read(world: World) -> None:
    def ids(query: str) -> set[str]:
        answer = json.loads(world.cpo.get(f"root/rootCerts{query}").content)
        return {one["rootCertificateId"] for one in answer["RootCertificateCollection"]["rootCertificates"]}

    assert ids("") == {str(root.public_id) for root in world.roots.values()}
    assert ids("?rootType=mo") == {str(world.roots["MO"].public_id)}
    assert said(world.cpo.get("root/rootCerts?rootType=king"), 400)
    one = json.loads(world.cpo.get(f"root/rootCerts/{world.roots['V2G'].public_id}").content)["RootResponse"]
    assert (one["commonName"], one["rootType"]) == ("V2G Root", "V2G")
    assert one["fingerprint"] == world.v2g_root.certificate.fingerprint_sha256


def test_the_administration_adds_roots_and_takes_them_out(world: World) -> None:
    root = Issuer("New Root").certificate
    added = world.administration.put("root/rootCerts", {"caCertificate": der(root), "rootType": "MO"})
    assert added.status_code == 200, added.content
    identifier = json.loads(added.content)["RootResponse"]["rootCertificateId"]
    again = world.administration.put("root/rootCerts", {"caCertificate": der(root), "rootType": "MO"})
    assert "is in the pool already" in said(again, 400)

    assert world.administration.delete(f"root/rootCerts/{identifier}").status_code == 200

    assert said(world.cpo.get(f"root/rootCerts/{identifier}"), 404)
    assert PoolRoot.objects.get(public_id=identifier).removed_at is not None
    assert [row.kind for row in PoolChange.objects.order_by("pk")][-2:] == ["root_added", "root_removed"]


def test_what_is_no_root_is_refused(world: World) -> None:
    for certificate, expected in (
        (der(world.mo_sub1.certificate), "did not sign itself"),
        (der(world.signer), "is not a CA certificate"),
        ("no certificate", "is not"),
    ):
        answer = world.administration.put("root/rootCerts", {"caCertificate": certificate, "rootType": "MO"})
        assert expected in said(answer, 400)
    assert said(world.administration.put("root/rootCerts", {"caCertificate": 5}), 400)


def test_a_root_that_was_taken_out_verifies_nothing(world: World) -> None:
    world.car_in_pool()
    roots.remove(root=world.roots["MO"], actor=OPERATOR, reason="Compromised")

    assert "No chain leads" in said(world.mo.put("ccp/signedContractData", world.contract().body()), 400)
    with pytest.raises(TransitionRefusedError):
        roots.remove(root=world.roots["MO"], actor=OPERATOR, reason="Again")


# -- provisioning certificates


def test_a_vehicles_certificate_is_published_read_and_overwritten(world: World) -> None:
    car = world.car_in_pool()
    shown = json.loads(world.mo.get(f"oem/provCerts/{PCID}").content)["OEMMessage"]
    assert shown["vehicleCertificate"] == der(car.certificate)
    assert shown["rootIssuerSerialNumber"] == world.oem_root.certificate.serial_hex
    assert world.mo.get(f"oem/provCerts/lookupVehicle/{PCID.lower()}").content == b""
    renewed = world.car_in_pool()

    shown = json.loads(world.oem.get(f"oem/provCerts/{PCID}").content)["OEMMessage"]

    assert shown["vehicleCertificate"] == der(renewed.certificate)
    kinds = list(PoolChange.objects.filter(pcid=PCID).order_by("pk").values_list("kind", flat=True))
    assert kinds == ["provisioning_added", "provisioning_updated"]


def test_what_was_read_is_what_was_stored(world: World) -> None:
    car = world.car_in_pool()
    certificate = provisioning_certificates.locked(PCID)

    shown = provisioning_certificates.described(certificate, certificate.root)

    assert {name: shown[name] for name in car.body} == car.body


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"vehicleCertificate": "x"}, "Invalid certificate format on vehicleCertificate"),
        ({"subCA1Certificate": None}, "Invalid certificate format on subCa1Certificate"),
        ({"subCA2Certificate": "-----"}, "Invalid certificate format on subCa2Certificate"),
        ({"subCA2Certificate": None}, "No chain leads"),
        ({"previousPcid": "x"}, "pcid : must match"),
        ({"xsdMsgDefNamespace": "x"}, "xsdMsgDefNamespace : must be one of"),
        ({"v2gRootAuthorityKeyIdentifiers": ["Q"]}, "v2gRootAuthorityKeyIdentifiers : must be"),
        ({"v2gRootAuthorityKeyIdentifiers": "4F"}, "v2gRootAuthorityKeyIdentifiers : must be"),
    ],
)
def test_a_vehicle_that_is_not_as_it_has_to_be_is_refused(world: World, change: dict[str, Any], expected: str) -> None:
    assert expected in said(world.oem.put("oem/provCerts", {**world.car().body, **change}), 400)


def test_another_manufacturers_vehicle_is_refused(world: World) -> None:
    assert "the WMI is not its own" in said(world.other_oem.put("oem/provCerts", world.car().body), 403)
    assert said(world.oem.put("oem/provCerts", world.car(days=-1).body), 400).endswith("is in the past.")
    nameless = world.car("NOPCID")
    assert "pcid : must match" in said(world.oem.put("oem/provCerts", nameless.body), 400)


def test_a_vehicle_that_goes_takes_its_contracts_along(world: World) -> None:
    world.car_in_pool()
    world.car_in_pool(OTHER_PCID)
    world.published()
    world.published("DE8AA777777777")
    world.published(OTHER_EMAID, OTHER_PCID)

    assert world.oem.delete(f"oem/provCerts/{PCID}").status_code == 200

    assert [one.emaid for one in PoolContract.objects.all()] == [OTHER_EMAID]
    assert said(world.oem.delete(f"oem/provCerts/{PCID}"), 404).startswith("The OEM provisioning certificate")
    gone = PoolChange.objects.filter(pcid=PCID, kind="contract_deleted").values_list("emaid", flat=True)
    assert set(gone) == {EMAID, "DE8AA777777777"}
