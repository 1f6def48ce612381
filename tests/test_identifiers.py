"""Identifiers as the field writes them, and the published vectors of check digits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfcerts import identifiers
from bfcerts.identifiers import Emaid, IdentifierError, emaid_check_digit

PUBLISHED = {
    "NN123ABCDEFGHI": "T",
    "FRXYZ123456789": "2",
    "ITA1B2C3E4F5G6": "4",
    "ESZU8WOX834H1D": "R",
    "PT73902837ABCZ": "Z",
    "DE83DUIEN83QGZ": "D",
    "DE83DUIEN83ZGQ": "M",
    "DE8AA001234567": "0",
    "NLTNM000122045": "U",
    "EMP99CQATEST00": "Z",
    "UKSWI123456791": "5",
}


@pytest.mark.parametrize(("first", "digit"), PUBLISHED.items())
def test_published_check_digits(first: str, digit: str) -> None:
    assert emaid_check_digit(first) == digit
    read = identifiers.emaid(first + digit)
    assert read.expected_check_digit == digit
    assert read.warning == ""


@given(st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=14, max_size=14), st.integers(0, 12))
def test_a_check_digit_notices_two_neighbours_that_changed_places(first: str, place: int) -> None:
    swapped = first[:place] + first[place + 1] + first[place] + first[place + 2 :]
    assert (emaid_check_digit(swapped) == emaid_check_digit(first)) == (swapped == first)


@pytest.mark.parametrize(
    ("written", "key", "text"),
    [
        ("DE-8AA-001234567-0", "DE8AA001234567", "DE-8AA-001234567-0"),
        ("de8aa0012345670", "DE8AA001234567", "DE-8AA-001234567-0"),
        (" DE8AA001234567 ", "DE8AA001234567", "DE-8AA-001234567"),
        ("DE*8AA*001234567*0", "DE8AA001234567", "DE-8AA-001234567-0"),
        ("NL-TNM-012204-5", "NLTNM000122045", "NL-TNM-000122045"),
        ("nltnm0122045", "NLTNM000122045", "NL-TNM-000122045"),
        ("NL*TNM*012204*X", "NLTNM00012204X", "NL-TNM-00012204X"),
        ("EMP99CQATEST001", "EMP99CQATEST00", "EM-P99-CQATEST00-1"),
    ],
)
def test_emaids_of_every_spelling(written: str, key: str, text: str) -> None:
    read = identifiers.emaid(written)
    assert (read.key, read.text) == (key, text)
    assert read.provider_id == key[:5]


def test_a_wrong_check_digit_is_told_and_refuses_nothing() -> None:
    read = identifiers.emaid("EMP99CQATEST001")
    assert read.warning == "The check digit of EM-P99-CQATEST00-1 should be Z; it is read all the same."
    assert read == identifiers.emaid("EMP99CQATEST00Z") == identifiers.emaid("EMP99CQATEST00")
    assert len({read, identifiers.emaid("EMP99CQATEST00Z")}) == 1


def test_longer_emaids_only_where_a_scheme_allows_them() -> None:
    written = "DE-8AA-0012345678901234-1"
    refused(identifiers.emaid, written, "emaid")
    read = identifiers.emaid(written, longest_instance=28)
    assert read == Emaid("DE", "8AA", "0012345678901234")
    assert (read.check_digit, read.expected_check_digit, read.warning) == ("1", "", "")
    refused(lambda text: identifiers.emaid(text, longest_instance=28), f"DE8AA{'0' * 29}", "emaid")


@pytest.mark.parametrize(
    "written",
    ["", "DE", "DE-8AA001234567", "DE-8AA-001234567*0", "DE8AA00123456", "1E8AA001234567", "DE8AA00123456ß",
     "DEABCE12345678901", "DE-8AA-00123-4567", "DE8AA001234567\n0", "\u0660" * 14],
)  # fmt: skip
def test_what_is_no_emaid(written: str) -> None:
    refused(identifiers.emaid, written, "emaid")


def test_pcids_and_their_makers() -> None:
    assert identifiers.pcid("hubUsEaTest000003").key == "HUBUSEATEST000003"
    assert identifiers.pcid("huboemprovcqa0615").wmi == "HUB"
    assert identifiers.pcid("HUBOEMPROVCQA06151").text == "HUBOEMPROVCQA06151"
    assert identifiers.pcid("hubUsEaTest000003") == identifiers.pcid("HUBUSEATEST000003")
    for written in ("", "HUBOEMPROVCQA061", "HUBOEMPROVCQA061512", "HUB-EMPROVCQA0615", "HUBOEMPROVCQA061ß"):
        refused(identifiers.pcid, written, "pcid")


def test_vins_and_wmis() -> None:
    assert identifiers.vin(" wvwzzz1jzxw000001") == "WVWZZZ1JZXW000001"
    for written in ("", "WVWZZZ1JZXW00000", "WVWZZZ1JZXW00000O", "IVWZZZ1JZXW000001", "WVWZZZ1JZXW0000011"):
        refused(identifiers.vin, written, "vin")
    assert identifiers.wmi("wvw") == "WVW"
    for written in ("", "WV", "WVWZ", "W*W"):
        refused(identifiers.wmi, written, "wmi")


@pytest.mark.parametrize(
    ("written", "text", "operator"),
    [
        ("DE*ICE*E45B*78C", "DE*ICE*E45B*78C", "DEICE"),
        ("de*ice*e45b*78c", "DE*ICE*E45B*78C", "DEICE"),
        ("DEICEE45B78C", "DE*ICE*E45B78C", "DEICE"),
        ("DEICE*E45B*78C", "DE*ICE*E45B*78C", "DEICE"),
        ("FR*A23*E*1", "FR*A23*E*1", "FRA23"),
    ],
)
def test_evse_ids_of_every_spelling(written: str, text: str, operator: str) -> None:
    read = identifiers.evse_id(written)
    assert (read.text, read.operator_id) == (text, operator)
    assert read == identifiers.evse_id(written.replace("*", ""))
    assert read.key == text.replace("*", "")


@pytest.mark.parametrize(
    "written",
    ["", "DE*ICE*E", "DE*ICE*45B", "DE-ICE-E45B", "D1*ICE*E45B", f"DE*ICE*E{'1' * 31}", "DE*ICE*E***", "DE*ICE*E_1"],
)
def test_what_is_no_evse_id(written: str) -> None:
    refused(identifiers.evse_id, written, "evse_id")


def test_secc_ids_of_every_spelling() -> None:
    written = "DE-ICE-S-00003C4D557878675645330967543476-2"
    read = identifiers.secc_id(written)
    assert read.text == written
    assert (read.operator_id, read.check_digit, len(read.controller)) == ("DEICE", "2", 32)
    assert (
        read == identifiers.secc_id(written.replace("-", "").lower()) == identifiers.secc_id(written.replace("-", "*"))
    )
    assert read.key == written.replace("-", "")
    for wrong in ("", written[:-3], written.replace("-S-", "-E-"), f"{written}{'0' * 30}", written.replace("4D", "4_")):
        refused(identifiers.secc_id, wrong, "secc_id")


def test_charge_point_ids_stay_as_they_are() -> None:
    for written in ("CP-1", "cp-1", "A" * 48, "DE*ICE*E45B", "a_b=c:d+e|f@g.h"):
        assert identifiers.station_id(written) == written
    for written in ("", "A" * 49, "CP 1", "CP/1", "CP-1\n", "Ü1", "CP#1"):
        refused(identifiers.station_id, written, "station_id")


@given(st.text(max_size=100))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (
        identifiers.emaid, identifiers.pcid, identifiers.vin, identifiers.wmi, identifiers.evse_id,
        identifiers.secc_id, identifiers.station_id,
    ):  # fmt: skip
        try:
            read(text)
        except IdentifierError as error:
            if not error.message.endswith("."):
                raise


def refused(read: object, text: str, code: str) -> None:
    assert callable(read)
    with pytest.raises(IdentifierError) as caught:
        read(text)
    assert caught.value.code == code
    assert caught.value.message.endswith(".")
