"""Answers in EXI where only XML was published, and answers that there is nothing."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from bfcerts.configuration import ConfigurationError
from provisioning.pools import exi_codec
from provisioning.pools.exi import looks_like_exi
from provisioning.pools.exi_codec import CommandCodec, ExiCodecError, Turning
from tests.provisioning import codec
from tests.provisioning.test_contract_pool import ISO_2, asked, given, said
from tests.provisioning.world import EMAID, PCID, World

CLASS = "python:tests.provisioning.codec.Codec"


def configure(settings: Settings, **values: Any) -> None:
    settings.CONFIGURATION = settings.CONFIGURATION.model_copy(update=values)


def only_xml(world: World) -> bytes:
    contract = world.contract()
    body = contract.body()
    del body["certificateInstallationRes"]
    assert world.mo.put("ccp/signedContractData", body).status_code == 201
    return contract.xml


def test_without_a_codec_the_pool_says_that_it_has_no_exi(world: World) -> None:
    car = world.car_in_pool()
    only_xml(world)

    sentence = said(asked(world.cpo, car), 503)

    assert sentence.startswith(f"The contract {EMAID} was published as XML only, and no EXI codec turns it here.")


def test_a_codec_turns_what_was_published_as_xml(world: World, settings: Settings) -> None:
    car = world.car_in_pool()
    xml = only_xml(world)
    configure(settings, pool_exi_codec=CLASS)

    message = given(asked(world.cpo, car))
    provided = world.oem.get(f"ccp/provideSignedContractData/{EMAID}/{PCID}?sessionID=0aF")

    assert base64.b64decode(message["certificateInstallationRes"]) == codec.HEADER + xml
    exi = base64.b64decode(json.loads(provided.content)["certificateInstallationRes"])
    assert exi == codec.HEADER + b"\x00\xaf" + xml


def test_what_a_codec_cannot_turn_is_said(world: World, settings: Settings) -> None:
    car = world.car_in_pool()
    contract = world.contract()
    xml = contract.xml.replace(b"CertificateInstallationRes", b"Unturnable")
    body = contract.body(signedContractDataXML=base64.b64encode(xml).decode())
    del body["certificateInstallationRes"]
    assert world.mo.put("ccp/signedContractData", body).status_code == 201
    configure(settings, pool_exi_codec=CLASS)

    assert "The codec does not know this." in said(asked(world.cpo, car), 503)


def test_a_404_carries_exi_for_the_car_where_it_may(world: World, settings: Settings) -> None:
    configure(settings, pool_exi_codec=CLASS)
    car = world.car()

    answer = asked(world.cpo, car)
    plain = asked(world.cpo, car, alwaysReturnEXI="false")

    assert answer.status_code == 404
    (content,) = json.loads(answer.content)["CCPResponse"]["emaidContent"]
    exi = base64.b64decode(content["messageDef"]["certificateInstallationRes"])
    assert exi == codec.HEADER + b"none:" + ISO_2.encode()
    assert said(plain, 404) == "Contract or Vehicle not found."
    assert "must be true or false" in said(asked(world.cpo, car, alwaysReturnEXI="perhaps"), 400)


@pytest.mark.parametrize(
    ("content", "given_back"), [(b"\x80\x98refused", True), (b"<xml/>", False), (b"\x80" * 5000, False), (None, False)]
)
def test_a_ready_made_refusal_is_given_as_it_is(
    world: World, settings: Settings, tmp_path: Path, content: bytes | None, given_back: bool
) -> None:
    if content is not None:
        (tmp_path / "ISO15118-2.exi").write_bytes(content)
    configure(settings, pool_refusals_directory=tmp_path)

    answer = asked(world.cpo, world.car())

    assert answer.status_code == 404
    assert ("CCPResponse" in json.loads(answer.content)) is given_back


TURNING = Turning(ISO_2, False, b"<xml/>", None, None)


def command(how: str, seconds: float = 30.0) -> CommandCodec:
    return CommandCodec([sys.executable, "-m", "tests.provisioning.codec", how], seconds=seconds)


def test_a_program_can_be_the_codec() -> None:
    assert command("well").turn(TURNING) == codec.HEADER + b"<xml/>"


@pytest.mark.parametrize("how", ["error", "html", "xml", "much", "fails"])
def test_a_program_that_answers_something_else_is_not_believed(how: str) -> None:
    with pytest.raises(ExiCodecError, match=r"The EXI codec .* (answered|ended)"):
        command(how).turn(TURNING)


def test_a_program_that_hangs_is_ended() -> None:
    with pytest.raises(ExiCodecError, match=r"did not answer within 0\.5 seconds"):
        command("hangs", seconds=0.5).turn(TURNING)


def test_a_program_that_is_not_there_is_said() -> None:
    with pytest.raises(ExiCodecError, match="could not be started"):
        CommandCodec(["/nowhere/codec"]).turn(TURNING)


@pytest.mark.parametrize(
    "setting", ["python:", "python:nowhere.at.all", "python:tests.provisioning.codec.No", "command:", "java:x"]
)
def test_a_setting_that_names_nothing_is_refused(settings: Settings, setting: str) -> None:
    configure(settings, pool_exi_codec=setting)
    with pytest.raises(ConfigurationError, match="BFCERTS_POOL_EXI_CODEC"):
        exi_codec.configured()


@pytest.mark.parametrize(
    ("stream", "expected"),
    [(b"\x80\x98", True), (b"$EXI\x80\x98", True), (b"\x80", False), (b"", False), (b"<xml/>", False), (b"00", False)],
)
def test_exi_is_known_by_its_header(stream: bytes, expected: bool) -> None:
    assert looks_like_exi(stream) is expected
