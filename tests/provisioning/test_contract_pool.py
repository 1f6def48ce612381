"""The contract certificate pool as its callers see it: over HTTP, with real certificates."""

import base64
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.http import HttpResponse

from inventory.models import SecurityEvent
from provisioning.models import PoolChange, PoolContract, PoolIdentifier
from provisioning.pools import answers, contracts
from tests.pki.material import Issuer, new_key
from tests.provisioning.world import (
    EMAID,
    FOREIGN_EMAID,
    OTHER_EMAID,
    OTHER_PCID,
    PCID,
    Car,
    Speaker,
    World,
    base64_of,
    exi,
    name_constraint,
)
from tests.support import OPERATOR

ISO_2 = "urn:iso:15118:2:2013:MsgDef"
ISO_20 = "urn:iso:15118:20:2022:MsgDef"


def said(answer: HttpResponse, status: int) -> str:
    """The sentence of a refusal in OPCP's shape."""
    assert answer.status_code == status, answer.content
    body = json.loads(answer.content)
    assert set(body) == {"errorMessages", "traceId"}
    UUID(body["traceId"])
    (sentence,) = body["errorMessages"]
    return str(sentence)


def asked(speaker: Speaker, car: Car, **headers: str) -> HttpResponse:
    body = {"certificateInstallationReq": car.request, "xsdMsgDefNamespace": ISO_2}
    return speaker.post("ccp/signedContractData", body, **headers)


def given(answer: HttpResponse) -> dict[str, Any]:
    assert answer.status_code == 200, answer.content
    (content,) = json.loads(answer.content)["CCPResponse"]["emaidContent"]
    message: dict[str, Any] = content["messageDef"]
    return message


def listed(answer: HttpResponse) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.content
    found: list[dict[str, Any]] = json.loads(answer.content)["XMLContracts"]
    return found


def test_a_car_is_given_the_answer_that_was_published_for_it(world: World) -> None:
    car = world.car_in_pool()
    contract = world.published()

    message = given(asked(world.cpo, car))

    assert base64.b64decode(message["certificateInstallationRes"]) == contract.response
    assert message["emaid"] == EMAID
    assert message["cpsV2GRootCertificateFingerprint"] == world.roots["V2G"].fingerprint


@pytest.mark.parametrize("spelling", [EMAID.lower(), "DE-8AA-001234567", "DE-8AA-001234567-0", f"{EMAID}7"])
def test_an_emaid_is_the_same_however_it_is_spelt(world: World, spelling: str) -> None:
    world.car_in_pool()
    contract = world.published()

    answer = world.mo.put("ccp/signedContractData", contract.body(emaid=spelling, metadata="spelt"))

    assert answer.status_code == 201, answer.content
    assert PoolContract.objects.get().metadata == "spelt"


def test_a_vehicle_has_several_contracts_and_exactly_one_default(world: World) -> None:
    car = world.car_in_pool()
    first, second = world.published(), world.published(OTHER_EMAID)
    assert given(asked(world.cpo, car))["emaid"] == EMAID

    assert world.oem.post(f"ccp/signedContractData/{PCID}/{OTHER_EMAID}/default").status_code == 200

    assert given(asked(world.cpo, car))["certificateInstallationRes"] == base64_of(second.response)
    shown = listed(world.oem.get(f"ccp/signedContractData/{PCID}"))
    assert [(one["emaid"], one["defaultContract"]) for one in shown] == [(OTHER_EMAID, True), (EMAID, False)]
    assert world.mo.delete(f"ccp/signedContractData/{OTHER_EMAID}").status_code == 200
    assert given(asked(world.cpo, car))["certificateInstallationRes"] == base64_of(first.response)


def test_an_update_overwrites_the_contract_of_the_same_emaid(world: World) -> None:
    car = world.car_in_pool()
    world.published()
    newer = world.published(days=800)

    assert given(asked(world.cpo, car))["certificateInstallationRes"] == base64_of(newer.response)
    assert PoolContract.objects.get().fingerprint == newer.certificate.fingerprint_sha256
    kinds = list(PoolChange.objects.filter(emaid=EMAID).order_by("pk").values_list("kind", flat=True))
    assert kinds == ["contract_published", "contract_updated"]


def test_a_publication_that_is_repeated_changes_nothing(world: World) -> None:
    world.car_in_pool()
    contract = world.contract()
    body = contract.body()

    assert [world.mo.put("ccp/signedContractData", body).status_code for _ in range(3)] == [201, 201, 201]

    assert PoolChange.objects.filter(emaid=EMAID).count() == 1


def test_the_two_editions_of_the_standard_stand_side_by_side(world: World) -> None:
    world.car_in_pool()
    world.published()
    other = world.contract()
    body = other.body(xsdMsgDefNamespace="urn:iso:15118:20:2020:MsgDef")
    assert world.mo.put("ccp/signedContractData", body).status_code == 201

    shown = listed(world.mo.get(f"ccp/lookupContract/{EMAID}"))

    assert {(one["xsdMsgDefNamespace"], one["defaultContract"]) for one in shown} == {(ISO_2, True), (ISO_20, True)}
    (only,) = listed(world.mo.get(f"ccp/lookupContract/{EMAID}?xsdMsgDefNamespace={ISO_20}"))
    assert base64.b64decode(only["contractCertificate"]) == other.certificate.der
    assert world.mo.delete(f"ccp/signedContractData/{EMAID}").status_code == 200
    assert not PoolContract.objects.exists()


def test_a_manufacturer_fetches_a_contract_of_its_car(world: World) -> None:
    world.car_in_pool()
    contract = world.published()

    answer = world.oem.get(f"ccp/provideSignedContractData/{EMAID}/{PCID}?sessionID=00")

    assert json.loads(answer.content) == {
        "certificateInstallationRes": base64_of(contract.response),
        "xsdMsgDefNamespace": ISO_2,
        "cpsV2GRootCertificateFingerprint": world.roots["V2G"].fingerprint,
    }
    wrong = world.oem.get(f"ccp/provideSignedContractData/{EMAID}/{PCID}?sessionID=xyz")
    assert said(wrong, 400).startswith("Invalid SessionID format")
    elsewhere = world.oem.get(f"ccp/provideSignedContractData/{OTHER_EMAID}/{PCID}")
    assert said(elsewhere, 404) == "The contract for the given EMAID not found."


# -- whose it is


def test_another_mobility_operators_contract_is_out_of_reach_and_the_try_is_told(world: World) -> None:
    world.car_in_pool()
    contract = world.published()

    tries = [
        world.other_mo.put("ccp/signedContractData", contract.body()),
        world.other_mo.delete(f"ccp/signedContractData/{EMAID}"),
        world.other_mo.get(f"ccp/lookupContract/{EMAID}"),
    ]

    for answer in tries:
        assert "another mobility operator's" in said(answer, 403)
    assert PoolContract.objects.get().node == world.mo.node
    told = SecurityEvent.objects.filter(type="PoolAccessRefused")
    assert told.count() == 3
    assert all("Mobilité" in event.message and EMAID in event.message for event in told)


@pytest.mark.parametrize(
    ("who", "method", "path"),
    [
        ("mo", "POST", "ccp/signedContractData"),
        ("cpo", "PUT", "ccp/signedContractData"),
        ("cpo", "DELETE", f"ccp/signedContractData/{EMAID}"),
        ("cps", "DELETE", f"ccp/signedContractData/{EMAID}"),
        ("cpo", "GET", f"ccp/lookupContract/{EMAID}"),
        ("mo", "GET", f"ccp/signedContractData/{PCID}"),
        ("other_oem", "GET", f"ccp/signedContractData/{PCID}"),
        ("other_oem", "GET", f"ccp/provideSignedContractData/{EMAID}/{PCID}"),
        ("other_oem", "POST", f"ccp/signedContractData/{PCID}/{EMAID}/default"),
        ("mo", "PUT", "oem/provCerts"),
        ("other_oem", "DELETE", f"oem/provCerts/{PCID}"),
        ("other_oem", "GET", f"oem/provCerts/{PCID}"),
        ("cpo", "GET", f"oem/provCerts/{PCID}"),
        ("mo", "PUT", "root/rootCerts"),
    ],
)
def test_a_role_does_only_what_is_its_own(world: World, who: str, method: str, path: str) -> None:
    world.car_in_pool()
    world.published()

    answer = getattr(world, who).ask(method, path, {} if method in ("PUT", "POST") else None)

    assert "may not" in said(answer, 403)
    assert PoolContract.objects.count() == 1


def test_a_provisioning_service_publishes_for_the_operator_whose_provider_id_it_is(world: World) -> None:
    world.car_in_pool()
    foreign = world.contract(FOREIGN_EMAID)

    assert world.cps.put("ccp/signedContractData", foreign.body()).status_code == 201

    assert PoolContract.objects.get().node == world.other_mo.node
    unknown = world.contract("ITAAA001234567")
    sentence = said(world.cps.put("ccp/signedContractData", unknown.body()), 400)
    assert "No mobility operator has a node with the provider id ITAAA" in sentence


def test_a_manufacturer_looks_up_only_contracts_of_its_cars(world: World) -> None:
    world.car_in_pool()
    world.published()

    assert len(listed(world.oem.get(f"ccp/lookupContract/{EMAID}"))) == 1
    assert said(world.other_oem.get(f"ccp/lookupContract/{EMAID}"), 404)


# -- what is refused


def test_a_contract_needs_a_vehicle_that_is_known(world: World) -> None:
    answer = world.mo.put("ccp/signedContractData", world.contract().body())

    assert said(answer, 400) == "The OEM provisioning certificate with the given PCID is not available."


def test_an_emaid_has_one_vehicle(world: World) -> None:
    world.car_in_pool()
    world.car_in_pool(OTHER_PCID)
    contract = world.published()

    answer = world.mo.put("ccp/signedContractData", contract.body(OTHER_PCID))

    assert said(answer, 400) == "Invalid Tupple - EMAID is already used by other PCID."
    edition = world.mo.put("ccp/signedContractData", contract.body(OTHER_PCID, xsdMsgDefNamespace=ISO_20))
    assert said(edition, 400) == "Invalid Tupple - EMAID is already used by other PCID."


def test_a_chain_that_leads_to_no_root_of_the_pool_is_refused(world: World) -> None:
    world.car_in_pool()
    stranger = Issuer("Stranger")
    contract = world.contract(issuer=stranger)

    sentence = said(world.mo.put("ccp/signedContractData", contract.body()), 400)

    assert sentence.startswith(f"No chain leads from CN={EMAID} to an MO or V2G root")


def test_a_chain_with_a_wrong_signature_is_refused(world: World) -> None:
    world.car_in_pool()
    impostor = Issuer("MO Sub2")
    contract = world.contract(issuer=impostor)

    sentence = said(world.mo.put("ccp/signedContractData", contract.body()), 400)

    assert "was not made by CN=MO Sub2" in sentence


def test_a_signing_service_of_no_root_of_ours_is_refused(world: World) -> None:
    world.car_in_pool()
    stranger = Issuer("Strange Signers").issue("CPS", usages=(), not_after=world.now + timedelta(days=9))

    sentence = said(world.mo.put("ccp/signedContractData", world.contract(signer=stranger).body()), 400)

    assert sentence.startswith("No chain leads from CN=CPS to an V2G root")


def test_a_critical_extension_that_nothing_knows_is_refused(world: World) -> None:
    world.car_in_pool()
    contract = world.contract(extensions=[(name_constraint(), True)])

    assert "critical extensions" in said(world.mo.put("ccp/signedContractData", contract.body()), 400)


def test_a_contract_that_has_ended_is_refused(world: World) -> None:
    world.car_in_pool()
    contract = world.contract(days=-1)

    answer = world.mo.put("ccp/signedContractData", contract.body())

    assert said(answer, 400) == "The validUntil date of contract certificate is in the past."


def test_the_data_have_to_hold_a_certificate_of_the_emaid(world: World) -> None:
    world.car_in_pool()
    body = world.contract(OTHER_EMAID).body(emaid=EMAID)

    assert "hold no contract certificate" in said(world.mo.put("ccp/signedContractData", body), 400)


def test_xml_and_ready_made_answer_have_to_be_of_the_same_contract(world: World) -> None:
    world.car_in_pool()
    one, other = world.contract(), world.contract()
    body = one.body(certificateInstallationRes=base64_of(other.response))

    assert "different contract certificates" in said(world.mo.put("ccp/signedContractData", body), 400)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("emaid", "DE8AA12345", "emaid : must match"),
        ("emaid", 5, "emaid : must match"),
        ("pcid", "short", "pcid : must match"),
        ("xsdMsgDefNamespace", "urn:iso:15118:3", "xsdMsgDefNamespace : must be one of"),
        ("xsdMsgDefNamespace", "", "xsdMsgDefNamespace : must be one of"),
        ("signedContractDataXML", "no base64!", "signedContractDataXML : must be base64"),
        ("signedContractDataXML", base64_of(b"not XML"), "signedContractDataXML : must be XML"),
        ("signedContractDataXML", ["x"], "signedContractDataXML : must be base64"),
        ("signedContractDataXML", "A" * 140_000, "signedContractDataXML : must be base64 of at most"),
        ("certificateInstallationRes", base64_of(b"\x00\x01"), "certificateInstallationRes : must be EXI"),
        ("certificateInstallationRes", "A" * 17_004, "certificateInstallationRes : must be base64 of at most"),
        ("cpsV2GRootCertificateFingerprint", "0" * 64, "is not the root of the service"),
        ("cpsV2GRootCertificateFingerprint", "896b6655-180e-4304-b642-606bb00df8f0", "64 hexadecimal digits"),
        ("metadata", {"x": 1}, "metadata : must be a text"),
        ("metadata", "a\x00b", "characters that cannot be stored"),
        ("metadata", "\ud800", "characters that cannot be stored"),
    ],
)
def test_what_is_not_as_it_has_to_be_is_refused_in_a_sentence(
    world: World, field: str, value: Any, expected: str
) -> None:
    world.car_in_pool()
    body = world.contract().body(**{field: value})

    assert expected in said(world.mo.put("ccp/signedContractData", body), 400)
    assert not PoolContract.objects.exists()


@pytest.mark.parametrize("body", [b"{", b"[]", b"5", b"[" * 100_000, b'{"emaid": "' + b"x" * 300_000, b"\xff"])
def test_a_body_that_is_none_is_refused(world: World, body: bytes) -> None:
    assert said(world.mo.ask("PUT", "ccp/signedContractData", body), 400)


def test_a_method_that_an_address_does_not_have_is_refused(world: World) -> None:
    answer = world.mo.ask("PATCH", "ccp/signedContractData")

    assert (said(answer, 405), answer.headers["Allow"]) == ("Use POST, PUT here.", "POST, PUT")


# -- cars


@pytest.mark.parametrize("request_text", ["", "no EXI", base64_of(b"<xml/>"), base64_of(b"\x80"), "A" * 12_000])
def test_exi_that_is_none_is_refused(world: World, request_text: str) -> None:
    body = {"certificateInstallationReq": request_text, "xsdMsgDefNamespace": ISO_2}

    sentence = said(world.cpo.post("ccp/signedContractData", body), 400)

    assert sentence in ("EXI format is invalid!", "certificateInstallationReq : must not be empty")


def test_a_request_without_a_vehicles_certificate_is_not_found(world: World) -> None:
    world.car_in_pool()
    contract = world.published()
    for stream in (exi(), exi(contract.certificate), exi(*contract.others)):
        body = {"certificateInstallationReq": base64_of(stream), "xsdMsgDefNamespace": ISO_2}
        assert said(world.cpo.post("ccp/signedContractData", body), 404) == "Contract or Vehicle not found."


def test_a_car_that_is_not_known_is_not_found(world: World) -> None:
    assert said(asked(world.cpo, world.car()), 404) == "Contract or Vehicle not found."


def test_a_car_with_another_key_is_given_nothing_and_that_is_told(world: World) -> None:
    world.car_in_pool()
    world.published()
    impostor = world.car(key=new_key())

    assert said(asked(world.cpo, impostor), 404)

    assert PCID in SecurityEvent.objects.get(type="PoolVehicleKeyUnknown").message


def test_a_car_with_a_new_certificate_for_its_key_is_still_answered(world: World) -> None:
    key = new_key()
    world.car_in_pool(key=key)
    world.published()
    renewed = world.car_in_pool(key=key)

    assert given(asked(world.cpo, renewed))["emaid"] == EMAID


def test_a_new_key_of_the_vehicle_makes_its_contracts_useless(world: World) -> None:
    world.car_in_pool()
    contract = world.published()
    renewed = world.car_in_pool()

    assert said(asked(world.cpo, renewed), 404)
    assert world.mo.put("ccp/signedContractData", contract.body()).status_code == 201
    assert given(asked(world.cpo, renewed))["emaid"] == EMAID


def test_a_contract_of_tomorrow_is_published_and_not_given_today(world: World) -> None:
    car = world.car_in_pool()
    leaf = world.mo_sub2.issue(
        EMAID, usages=(), not_before=world.now + timedelta(days=1), not_after=world.now + timedelta(days=90)
    )
    contract = world.contract()
    contract.certificate = leaf

    assert world.mo.put("ccp/signedContractData", contract.body()).status_code == 201

    assert said(asked(world.cpo, car), 404)
    later = answers.answer(car.request, namespace=ISO_2, now=world.now + timedelta(days=2))
    assert later.exi == contract.response


def test_a_blocked_contract_is_given_to_nobody_and_another_one_becomes_the_default(world: World) -> None:
    car = world.car_in_pool()
    world.published()
    other = world.published(OTHER_EMAID)
    blocked = PoolContract.objects.get(emaid=EMAID)

    contracts.block(contract=blocked, actor=OPERATOR, reason="Its key is known", now=world.now)

    assert given(asked(world.cpo, car))["certificateInstallationRes"] == base64_of(other.response)


def test_an_update_of_a_contract_is_found_by_the_contract_in_the_request(world: World) -> None:
    world.car_in_pool()
    former = world.contract()
    newer = world.contract()
    update = exi(newer.certificate, *newer.others, offset=6, salt=b"update")
    body = newer.body(certificateUpdateRes=base64_of(update))
    assert world.mo.put("ccp/signedContractData", body).status_code == 201
    request = base64_of(exi(former.certificate, *former.others[:2], offset=2))

    found = answers.answer(request, namespace=ISO_2, now=world.now, update=True)

    assert (found.exi, found.emaid, found.pcid) == (update, EMAID, PCID)


# -- what is kept of it


def test_encrypted_keys_stand_nowhere_but_in_their_columns(world: World, caplog: pytest.LogCaptureFixture) -> None:
    car = world.car_in_pool()
    contract = world.published()
    secret = base64_of(contract.private_key)
    given(asked(world.cpo, car))

    shown = [
        *(str(vars(row)) for row in PoolChange.objects.all()),
        *(str(vars(row)) for row in PoolIdentifier.history.all()),
        repr(answers.answer(car.request, namespace=ISO_2, now=world.now)),
        caplog.text,
    ]
    assert shown
    assert not any(secret in text or str(contract.private_key) in text for text in shown)
    assert not hasattr(PoolContract, "history")
