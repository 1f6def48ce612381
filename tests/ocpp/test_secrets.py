"""Secrets of commands: sealed in the outbox, merged at the gateway, redacted in what comes back; and listener keys."""

from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from bfcerts.configuration import Configuration, ConfigurationError
from bfcerts.ocpp import secret_payload
from bfcerts.ocpp.canonical import set_variables
from bfcerts.ocpp.gateway import keys
from bfcerts.ocpp.redaction import REDACTED, redact

KEY = b"credential key of the test"
PASSWORD = ("SecurityCtrlr", "BasicAuthPassword", "correct horse")


def test_a_sealed_payload_opens_under_its_key_only() -> None:
    sealed = secret_payload.seal(set_variables([PASSWORD]), KEY)
    assert b"horse" not in sealed
    assert secret_payload.open(sealed, KEY) == set_variables([PASSWORD])
    for broken in (sealed[:-1] + bytes([sealed[-1] ^ 1]), sealed[:20], b""):
        with pytest.raises(secret_payload.SecretPayloadError):
            secret_payload.open(broken, KEY)
    with pytest.raises(secret_payload.SecretPayloadError, match="BFCERTS_CREDENTIAL_KEY"):
        secret_payload.open(sealed, b"another key")


def test_two_seals_of_the_same_payload_differ() -> None:
    assert secret_payload.seal(set_variables([PASSWORD]), KEY) != secret_payload.seal(set_variables([PASSWORD]), KEY)


def test_a_secret_variable_takes_the_place_of_its_readable_stand_in() -> None:
    readable = set_variables([("SecurityCtrlr", "BasicAuthPassword", ""), ("OCPPCommCtrlr", "Other", "1")])
    merged = secret_payload.merge(readable, set_variables([PASSWORD]))
    assert merged == set_variables([("OCPPCommCtrlr", "Other", "1"), PASSWORD])
    assert readable["variables"][0][2] == ""
    assert secret_payload.merge(set_variables([]), set_variables([PASSWORD])) == set_variables([PASSWORD])


def test_the_secret_strings_are_known_for_redaction() -> None:
    assert secret_payload.values(set_variables([PASSWORD, ("a", "b", "")])) == {"correct horse"}


def test_a_station_that_lists_a_password_in_clear_is_not_quoted() -> None:
    answer: dict[str, list[dict[str, Any]]] = {
        "getVariableResult": [
            {"attributeValue": "hunter2", "variable": {"name": "BasicAuthPassword"}, "component": {"name": "x"}},
            {"attributeValue": "3", "variable": {"name": "SecurityProfile"}, "component": {"name": "x"}},
        ],
        "configurationKey": [{"key": "AuthorizationKey", "readonly": False, "value": "0011"}],
    }
    redacted = redact(answer)
    assert [one["attributeValue"] for one in redacted["getVariableResult"]] == [REDACTED, "3"]
    assert redacted["configurationKey"] == [{"key": "AuthorizationKey", "readonly": False, "value": REDACTED}]
    assert answer["getVariableResult"][0]["attributeValue"] == "hunter2"


def test_a_station_that_echoes_the_password_it_was_given_is_not_quoted() -> None:
    answer = {"statusInfo": {"additionalInfo": "cannot set correct horse!", "correct horse": 1}, "n": [None, 2, True]}
    assert redact(answer, {"correct horse"}) == {
        "statusInfo": {"additionalInfo": f"cannot set {REDACTED}!", REDACTED: 1},
        "n": [None, 2, True],
    }


@pytest.mark.parametrize(("key_type", "kind"), [("ecdsa", ec.EllipticCurvePrivateKey), ("rsa", rsa.RSAPrivateKey)])
def test_a_listener_key_opens_in_its_own_row_only(key_type: str, kind: type) -> None:
    key = keys.make_key(key_type)
    assert isinstance(key, kind)
    encrypted = keys.encrypt(key, KEY, host="h", key_type=key_type, reference="r1")
    opened = keys.decrypt(encrypted, KEY, host="h", key_type=key_type, reference="r1")
    assert keys.public_key_sha256(opened) == keys.public_key_sha256(key)
    for secret, reference in ((b"another", "r1"), (KEY, "r2")):
        with pytest.raises(keys.ListenerKeyError):
            keys.decrypt(encrypted, secret, host="h", key_type=key_type, reference=reference)


def test_tc_a_04_the_request_of_a_listener_names_its_host() -> None:
    """A00.FR.510: the common name is the endpoint's FQDN."""
    request = x509.load_pem_x509_csr(keys.make_request(keys.make_key("ecdsa"), "ocpp.example.org").encode())
    assert request.subject.rfc4514_string() == "CN=ocpp.example.org"
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["ocpp.example.org"]


def test_a_host_too_long_for_a_common_name_is_still_in_the_request() -> None:
    host = f"{'a' * 60}.{'b' * 40}.example.org"
    request = x509.load_pem_x509_csr(keys.make_request(keys.make_key("ecdsa"), host).encode())
    assert request.subject.rfc4514_string() == ""
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [host]


@pytest.mark.parametrize(
    ("key", "variable"),
    [(keys.gateway_key, "GATEWAY_KEY"), (Configuration.credential_secret, "CREDENTIAL_KEY")],
)
def test_a_production_gateway_without_its_keys_says_so(key: object, variable: str, tmp_path: Path) -> None:
    bare = Configuration.model_construct(database_url=None, var_directory=tmp_path)
    assert callable(key)
    assert key(bare) == key(bare)
    with pytest.raises(ConfigurationError, match=f"BFCERTS_{variable}"):
        key(bare.model_copy(update={"database_url": "postgresql://h/d"}))
