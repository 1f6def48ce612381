"""Taking in what others issued: what is taken in as what, and what is refused."""

import pytest

from inventory.choices import EventType, EvidenceKind, RecordState
from inventory.errors import (
    CsrRejectedError,
    InvalidInputError,
    TransitionRefusedError,
)
from inventory.models import (
    CertificateRecord,
)
from inventory.services import lifecycle
from tests.inventory.commanded import INSTALLED, events, register, seen
from tests.inventory.material import external_certificate, publish_external_authority
from tests.support import OPERATOR, ControlPlane, charger, new_key

pytestmark = pytest.mark.django_db


def test_an_external_certificate_is_taken_in_as_issued(plane: ControlPlane) -> None:
    record = register(plane, charger("CS-1"))

    assert (record.state, record.registered_externally) == (RecordState.ISSUED, True)
    assert record.responsible_authority == "O=External CA"
    assert events(record, EventType.CERTIFICATE_ISSUED) == 1


def test_the_same_certificate_again_is_the_record_that_exists(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    pem = external_certificate("CS-1", plane.clock(), 100)

    first = register(plane, identity, certificate_pem=pem)
    again = register(plane, identity, certificate_pem=pem, state=RecordState.ACTIVE)

    assert again.pk == first.pk
    assert events(first, EventType.CERTIFICATE_ISSUED) == 1


def test_a_certificate_is_nobody_elses(plane: ControlPlane) -> None:
    pem = external_certificate("CS-1", plane.clock(), 100)
    record = register(plane, charger("CS-1"), certificate_pem=pem)

    with pytest.raises(InvalidInputError, match=f"registered already, as record {record.pk} of CS-1 for Charger id"):
        register(plane, charger("CS-2"), certificate_pem=pem)


def test_a_key_is_nobody_elses(plane: ControlPlane) -> None:
    key = new_key()
    register(plane, charger("CS-1"), certificate_pem=external_certificate("CS-1", plane.clock(), 100, key=key))

    with pytest.raises(CsrRejectedError, match="has been used by another identity \\(CS-1\\)"):
        register(plane, charger("CS-2"), certificate_pem=external_certificate("CS-2", plane.clock(), 90, key=key))


def test_two_certificates_with_one_serial_number_of_one_issuer_cannot_both_be_genuine(plane: ControlPlane) -> None:
    register(plane, charger("CS-1"), certificate_pem=external_certificate("CS-1", plane.clock(), 100, serial=77))

    with pytest.raises(InvalidInputError, match="with the serial number 4d: one of the two is not genuine"):
        register(plane, charger("CS-2"), certificate_pem=external_certificate("CS-2", plane.clock(), 100, serial=77))


@pytest.mark.parametrize(
    "state",
    [state for state in RecordState.values if state not in ("issued", "installed_pending_activation", "active")],
)
def test_a_certificate_is_not_registered_as_something_else(plane: ControlPlane, state: str) -> None:
    with pytest.raises(InvalidInputError, match=f"cannot be registered as {state}; use issued"):
        register(plane, charger("CS-1"), state=state)
    assert not CertificateRecord.objects.exists()


@pytest.mark.parametrize("state", [RecordState.INSTALLED_PENDING_ACTIVATION, RecordState.ACTIVE])
def test_what_is_more_than_issued_needs_evidence_of_the_right_kind(plane: ControlPlane, state: str) -> None:
    identity = charger("CS-1")

    with pytest.raises(TransitionRefusedError, match="needs evidence; name its kind"):
        register(plane, identity, state=state)
    with pytest.raises(TransitionRefusedError, match="Statement by an operator does not show"):
        register(plane, identity, state=state, evidence_kind=EvidenceKind.OPERATOR_STATEMENT)
    assert not CertificateRecord.objects.exists()


def test_installed_is_not_active(plane: ControlPlane) -> None:
    identity = charger("CS-1")

    with pytest.raises(TransitionRefusedError, match="does not prove that this Charger identity certificate is in use"):
        register(plane, identity, state=RecordState.ACTIVE, evidence_kind=EvidenceKind.INSTALL_ACKNOWLEDGED)
    assert not CertificateRecord.objects.exists()


def test_an_external_certificate_that_is_active_retires_the_one_before(plane: ControlPlane) -> None:
    old = plane.enrol(charger("CS-1"))

    new = register(plane, old.identity, **INSTALLED)
    lifecycle.activate(record=new, evidence=seen(plane, new), actor=OPERATOR, reason="test", now=plane.clock())

    old.refresh_from_db()
    new.refresh_from_db()
    assert (new.state, old.state) == (RecordState.ACTIVE, RecordState.RETIRED)


@pytest.mark.parametrize(
    ("pem", "sentence"),
    [
        ("", "The certificate cannot be registered"),
        ("nonsense", "The certificate cannot be registered"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "The certificate cannot be registered"),
    ],
)
def test_what_is_no_certificate_is_refused(plane: ControlPlane, pem: str, sentence: str) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        register(plane, charger("CS-1"), certificate_pem=pem)


def test_a_bad_chain_is_refused(plane: ControlPlane) -> None:
    with pytest.raises(InvalidInputError, match="The certificate cannot be registered"):
        register(plane, charger("CS-1"), chain_pem="nonsense")


def test_a_ca_is_no_endpoints_certificate(plane: ControlPlane) -> None:
    with pytest.raises(InvalidInputError, match="certificate of a CA, not of an endpoint"):
        register(plane, charger("CS-1"), certificate_pem=external_certificate("CS-1", plane.clock(), 100, is_ca=True))


def test_a_long_name_of_the_issuer_is_no_obstacle(plane: ControlPlane) -> None:
    issuer, unit = "An issuer with a name" * 3, "x" * 64
    publish_external_authority(plane.clock(), name=issuer, unit=unit)
    pem = external_certificate("CS-1", plane.clock(), 100, issuer=issuer, unit=unit)

    assert len(register(plane, charger("CS-1"), certificate_pem=pem).responsible_authority) <= 200
