"""What a certificate signing request must be: its subject, its wishes, and what a refusal leaves behind."""

import ipaddress

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bfcerts.pki.pem import encode
from inventory.audit import attributed
from inventory.choices import EventType, JobState, SubjectRule
from inventory.errors import CsrRejectedError
from inventory.models import (
    CertificateJob,
    CertificateRecord,
    ChargerFamily,
    DomainEvent,
    SecurityEvent,
)
from inventory.services import identities
from tests.inventory.csr_checks import check, rule_of
from tests.pki.material import attribute, raw_csr, tlv
from tests.support import OPERATOR, ControlPlane, charger, new_key, request_for

pytestmark = pytest.mark.django_db


def family(rule: SubjectRule) -> ChargerFamily:
    with attributed(OPERATOR, "test"):
        return ChargerFamily.objects.create(name=rule.label, vendor="Acme", model="7", subject_rule=rule)


# -- the subject -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "CS-2",
        "CS-10",
        "CS-",
        "XCS-1",
        "CS-1X",
        "cs-1",
        "CS-1 ",
        " CS-1",
        "CS-1,CS-2",
        "CS–1",  # noqa: RUF001  # a dash that looks alike
        "CS-1.example.net",
    ],
)
def test_the_name_is_compared_exactly_and_never_by_containment(name: str) -> None:
    assert rule_of(request_for(name), charger("CS-1")) == "identity_mismatch"


@pytest.mark.parametrize(
    ("rule", "accepted", "bound_by"),
    [
        (SubjectRule.EITHER, "CS-1", "charge point id"),
        (SubjectRule.EITHER, "SN-77", "serial number"),
        (SubjectRule.STATION_ID, "CS-1", "charge point id"),
        (SubjectRule.SERIAL_NUMBER, "SN-77", "serial number"),
    ],
)
def test_the_familys_rule_says_which_name_binds(rule: SubjectRule, accepted: str, bound_by: str) -> None:
    identity = charger("CS-1", serial_number="SN-77", family=family(rule))

    assert check(request_for(accepted), identity).bound_by == bound_by


@pytest.mark.parametrize(("rule", "refused"), [(SubjectRule.STATION_ID, "SN-77"), (SubjectRule.SERIAL_NUMBER, "CS-1")])
def test_the_name_that_the_familys_rule_does_not_want_is_refused(rule: SubjectRule, refused: str) -> None:
    identity = charger("CS-1", serial_number="SN-77", family=family(rule))

    assert rule_of(request_for(refused), identity) == "identity_mismatch"


def test_without_a_family_either_name_binds() -> None:
    identity = charger("CS-1", serial_number="SN-77")

    assert check(request_for("SN-77"), identity).bound_by == "serial number"
    assert check(request_for("CS-1"), identity).bound_by == "charge point id"


def test_an_unknown_serial_number_binds_nobody() -> None:
    identity = charger("CS-1", family=family(SubjectRule.SERIAL_NUMBER))

    with pytest.raises(CsrRejectedError, match="expected a serial number on record"):
        check(request_for("SN-77"), identity)
    empty = encode(raw_csr(new_key(), subject=tlv(0x30, attribute("550403", 0x0C, b""))), "CERTIFICATE REQUEST")
    assert rule_of(empty, identity) in ("identity_mismatch", "malformed", "subject")


@pytest.mark.parametrize(
    "subject",
    [
        [("CN", "CS-1"), ("CN", "CS-2")],
        [("CN", "CS-2"), ("CN", "CS-1")],
        [("CN", "CS-1"), ("CN", "CS-1")],
        [("O", "CS-1")],
        [],
    ],
)
def test_a_request_has_exactly_one_common_name(subject: list[tuple[str, str]]) -> None:
    assert rule_of(request_for("", subject=subject), charger("CS-1")) == "subject"


def test_two_common_names_in_one_part_of_the_name_do_not_hide() -> None:
    one_part = tlv(
        0x30,
        tlv(
            0x31,
            *(tlv(0x30, tlv(0x06, bytes.fromhex("550403")), tlv(0x0C, name)) for name in (b"CS-1", b"CS-2")),
        ),
    )

    assert rule_of(encode(raw_csr(new_key(), subject=one_part), "CERTIFICATE REQUEST"), charger("CS-1")) == "subject"


def test_what_stands_beside_the_name_does_not_matter() -> None:
    subject = [("C", "DE"), ("O", "Operator"), ("DC", "CPO"), ("CN", "CS-1")]

    assert check(request_for("", subject=subject), charger("CS-1")).csr.common_names == ("CS-1",)


def test_a_vehicle_binds_by_its_identifier_alone() -> None:
    vehicle = identities.create(
        kind="vehicle", authoritative_identifier="WAUZZZ1", serial_number="SN-77", actor=OPERATOR, reason="test"
    )

    assert check(request_for("WAUZZZ1"), vehicle, "vehicle_vas_identity").bound_by == "authoritative identifier"
    assert rule_of(request_for("SN-77"), vehicle, "vehicle_vas_identity") == "identity_mismatch"


# -- wishes ----------------------------------------------------------------------------------------------------------


def usage(*, key_cert_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


@pytest.mark.parametrize(
    ("extension", "rule"),
    [
        (x509.BasicConstraints(ca=True, path_length=None), "requests_ca"),
        (x509.BasicConstraints(ca=True, path_length=0), "requests_ca"),
        (usage(key_cert_sign=True), "requests_ca"),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), "foreign_key_usage"),
        (
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.CODE_SIGNING]),
            "foreign_key_usage",
        ),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), "foreign_key_usage"),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), "foreign_key_usage"),
        (x509.SubjectAlternativeName([x509.DNSName("gateway.example.net")]), "surprising_names"),
        (x509.SubjectAlternativeName([x509.DNSName("CS-1"), x509.DNSName("CS-2")]), "surprising_names"),
        (x509.SubjectAlternativeName([x509.DNSName("*.example.net")]), "surprising_names"),
        (x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("10.0.0.1"))]), "surprising_names"),
        (x509.SubjectAlternativeName([x509.RFC822Name("root@example.net")]), "surprising_names"),
        (x509.SubjectAlternativeName([x509.UniformResourceIdentifier("urn:CS-1")]), "surprising_names"),
        (
            x509.SubjectAlternativeName(
                [x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CS-1")]))]
            ),
            "surprising_names",
        ),
    ],
)
def test_powers_and_names_that_a_device_never_gets(extension: x509.ExtensionType, rule: str) -> None:
    csr = request_for("CS-1", extensions=[(extension, False)])

    assert rule_of(csr, charger("CS-1", serial_number="SN-77")) == rule


@pytest.mark.parametrize(
    "extension",
    [
        x509.BasicConstraints(ca=False, path_length=None),
        usage(key_cert_sign=False),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),
        x509.SubjectAlternativeName([x509.DNSName("CS-1"), x509.DNSName("SN-77")]),
    ],
)
def test_what_a_device_may_well_ask_for(extension: x509.ExtensionType) -> None:
    csr = request_for("CS-1", extensions=[(extension, False)])

    assert check(csr, charger("CS-1", serial_number="SN-77")).bound_by == "charge point id"


def test_an_extension_of_a_request_never_reaches_the_certificate(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    plane.send_csr(
        identity,
        request_for("CS-1", extensions=[(x509.SubjectAlternativeName([x509.DNSName("CS-1")]), True)]),
    )
    plane.work()

    record = CertificateRecord.objects.get()
    certificate = x509.load_pem_x509_certificate(record.certificate_pem.encode())
    assert record.state == "issued"
    assert record.subject_alternative_names == []
    assert {extension.oid._name for extension in certificate.extensions} == {
        "basicConstraints",
        "keyUsage",
        "extendedKeyUsage",
        "subjectKeyIdentifier",
        "authorityKeyIdentifier",
    }


@pytest.mark.parametrize(
    ("wanted", "allowed"),
    [([ExtendedKeyUsageOID.SERVER_AUTH], True), ([ExtendedKeyUsageOID.CLIENT_AUTH], False)],
)
def test_each_purpose_has_usages_of_its_own(wanted: list[x509.ObjectIdentifier], allowed: bool) -> None:
    host = identities.create(
        kind="service_endpoint", authoritative_identifier="gateway.example.net", actor=OPERATOR, reason="test"
    )
    csr = request_for("gateway.example.net", extensions=[(x509.ExtendedKeyUsage(wanted), False)])

    if allowed:
        assert check(csr, host, "backend_server").bound_by == "authoritative identifier"
    else:
        assert rule_of(csr, host, "backend_server") == "foreign_key_usage"


# -- what a refusal leaves behind ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("csr", "rule"),
    [(request_for("CS-10"), "identity_mismatch"), ("no request", "not_pem"), ("A" * 6000, "too_large")],
)
def test_a_refusal_is_an_event_with_the_rule_and_ends_the_job_visibly(plane: ControlPlane, csr: str, rule: str) -> None:
    identity = charger("CS-1")
    plane.send_csr(identity, csr)
    plane.work()

    job = CertificateJob.objects.get()
    event = DomainEvent.objects.get(type=EventType.CSR_REJECTED)
    security = SecurityEvent.objects.get(type="CSRRejected")
    assert job.state == JobState.FAILED
    assert event.payload["rule"] == security.payload["rule"] == rule
    assert job.outcome == event.payload["detail"] == security.message
    assert (event.identity, event.job, security.identity) == (identity, job, identity)
    assert (event.actor, security.source) == ("station:CS-1", "charger")
    assert not CertificateRecord.objects.exists()


def test_a_station_that_asks_without_end_is_slowed_down_and_shown(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    for _ in range(12):
        plane.send_csr(identity, "no request")
        plane.work()

    assert CertificateJob.objects.count() == 6
    assert SecurityEvent.objects.filter(type="UnsolicitedCertificateRequestRefused").count() == 1
    plane.clock.advance(minutes=10)
    plane.send_csr(identity, request_for("CS-1"))
    plane.work()
    assert CertificateRecord.objects.get().state == "issued"
