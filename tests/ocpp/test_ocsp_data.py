"""What stations say of a certificate whose status they ask for, however they spell it."""

from base64 import urlsafe_b64encode

import pytest

from bfcerts.ocpp.ocsp_data import canonical_ocsp_data

NAME, KEY = bytes(range(200, 232)), bytes(range(32))
HEX = {"hashAlgorithm": "SHA256", "issuerNameHash": NAME.hex(), "issuerKeyHash": KEY.hex(), "serialNumber": "1a2b"}
BASE64 = {
    "hashAlgorithm": "SHA256",
    "issuerNameHash": urlsafe_b64encode(NAME).decode(),
    "issuerKeyHash": urlsafe_b64encode(KEY).decode(),
    "serialNumber": "6699",
}
CANONICAL = {
    "hash_algorithm": "SHA256",
    "issuer_name_hash": NAME.hex(),
    "issuer_key_hash": KEY.hex(),
    "serial_number": "1a2b",
    "responder_url": "",
}


@pytest.mark.parametrize(
    "data",
    [
        HEX,
        {**HEX, "issuerNameHash": NAME.hex().upper(), "serialNumber": "001A2B"},
        {**HEX, "serialNumber": "0x1a2b"},
        BASE64,
        {**BASE64, "issuerNameHash": BASE64["issuerNameHash"].rstrip("=")},
        {**BASE64, "issuerNameHash": BASE64["issuerNameHash"].replace("-", "+").replace("_", "/")},
        {**BASE64, "serialNumber": "1A2B"},
    ],
)
def test_every_spelling_is_the_same_question(data: dict[str, str]) -> None:
    assert canonical_ocsp_data(data) == CANONICAL


@pytest.mark.parametrize(("algorithm", "octets"), [("SHA256", 32), ("SHA384", 48), ("SHA512", 64)])
def test_the_length_of_a_hash_tells_how_it_is_written(algorithm: str, octets: int) -> None:
    value = bytes(range(octets))
    for spelled in (value.hex(), urlsafe_b64encode(value).decode()):
        data = {"hashAlgorithm": algorithm, "issuerNameHash": spelled, "issuerKeyHash": spelled, "serialNumber": "7"}
        asked = canonical_ocsp_data(data)
        assert asked is not None
        assert asked["issuer_key_hash"] == value.hex()


def test_digits_are_hexadecimal_where_the_hashes_are() -> None:
    asked = canonical_ocsp_data({**HEX, "serialNumber": "6699", "responderURL": "HTTP://o/"})
    assert asked is not None
    assert (asked["serial_number"], asked["responder_url"]) == ("6699", "HTTP://o/")


@pytest.mark.parametrize(
    "change",
    [
        {"issuerNameHash": ""},
        {"issuerNameHash": "zz" * 32},
        {"issuerKeyHash": KEY.hex()[:-2]},
        {"issuerKeyHash": "é" * 44},
        {"serialNumber": ""},
        {"serialNumber": "-1"},
        {"serialNumber": "1 2"},
        {"serialNumber": "١٢"},
        {"serialNumber": "1" + "0" * 40},
    ],
)
def test_what_nobody_could_be_asked_with_is_no_question(change: dict[str, str]) -> None:
    assert canonical_ocsp_data({**HEX, **change}) is None
