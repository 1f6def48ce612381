"""The capability matrix: declared, observed or unknown, and what tells against what."""

from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from bfcerts.ocpp import canonical, outbox
from bfcerts.ocpp.canonical import Action, Evidence
from bfcerts.ocpp.models import OutboxCommand
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import MANDATORY_FOR_PROFILE_3, Capability, KeyPath
from inventory.errors import InvalidInputError, NotPermittedError
from inventory.models import ChargerFamily, FamilyCapability, ManagedIdentity, SecurityEvent
from inventory.services import capabilities, catalogue
from tests.admin.given import administrator
from tests.support import OPERATOR, Clock, ControlPlane, charger, request_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def family() -> ChargerFamily:
    entry = ChargerFamily(name="Acme 7", vendor="Acme", model="7")
    return catalogue.save(entry=entry, actor=OPERATOR, reason="test")


@pytest.fixture
def identity(family: ChargerFamily) -> ManagedIdentity:
    return charger("CS-1", family=family)


def declare(
    family: ChargerFamily, capability: Capability, supported: bool | None, clock: Clock, **options: Any
) -> None:
    capabilities.declare(
        family=family,
        capability=capability,
        supported=supported,
        source=options.pop("source", "Data sheet 3"),
        actor=options.pop("actor", OPERATOR),
        reason="test",
        now=clock(),
    )


def state(family: ChargerFamily, capability: Capability) -> tuple[str, str]:
    known = capabilities.state_of(family)[capability]
    return known.word, known.basis


def answered(plane: ControlPlane, identity: ManagedIdentity, action: Action, outcome: str, **payload: Any) -> None:
    command = outbox.enqueue(
        station_id=identity.authoritative_identifier,
        action=action,
        payload=canonical.list_certificates(),
        dedupe_key=f"test:{OutboxCommand.objects.count()}",
        now=plane.clock(),
        expires_after=timedelta(hours=1),
        reference="test:1",
    )
    plane.answer(command, outcome, **payload)
    plane.read_inbox()


def test_what_nobody_said_is_unknown_and_unknown_is_not_capable(family: ChargerFamily) -> None:
    states = capabilities.state_of(family)

    assert set(states) == set(Capability)
    assert {known.word for known in states.values()} == {"unknown"}
    assert capabilities.missing_for_profile_3(family) == list(MANDATORY_FOR_PROFILE_3)


def test_a_family_that_can_all_of_the_appendix_is_ready(family: ChargerFamily, clock: Clock) -> None:
    for capability in MANDATORY_FOR_PROFILE_3:
        declare(family, capability, True, clock)
    assert capabilities.missing_for_profile_3(family) == []

    declare(family, Capability.GET_LOG, False, clock)
    declare(family, Capability.SIGN_CERTIFICATE, None, clock)

    assert capabilities.missing_for_profile_3(family) == [Capability.GET_LOG, Capability.SIGN_CERTIFICATE]
    assert state(family, Capability.SIGN_CERTIFICATE) == ("unknown", "")


def test_an_approved_key_path_stands_in_for_a_second_slot(family: ChargerFamily, clock: Clock) -> None:
    assert Capability.DUAL_KEY_SLOTS in capabilities.missing_for_profile_3(family)

    family.key_path = KeyPath.TWO_SLOTS_AT_OUR_DOOR
    family.key_path_approved_at, family.key_path_approved_by = clock(), "person:maria"

    assert Capability.DUAL_KEY_SLOTS not in capabilities.missing_for_profile_3(family)
    known = capabilities.state_of(family)
    assert (
        known[Capability.DUAL_KEY_SLOTS].stands_in
        == "its approved key path, “One slot on the station, two at our door”"
    )
    assert not known[Capability.GET_LOG].stands_in


def test_a_declaration_has_a_source_an_author_and_a_date(family: ChargerFamily, clock: Clock) -> None:
    declare(family, Capability.GET_LOG, True, clock)

    known = capabilities.state_of(family)[Capability.GET_LOG]
    assert (known.supported, known.basis, known.source, known.as_of) == (True, "declared", "Data sheet 3", clock())
    assert FamilyCapability.objects.get().history.get().actor == OPERATOR.name
    with pytest.raises(InvalidInputError, match="source"):
        declare(family, Capability.GET_LOG, True, clock, source=" ")
    with pytest.raises(NotPermittedError):
        declare(family, Capability.GET_LOG, True, clock, actor=Actor.person(User.objects.create_user("maria")))
    with pytest.raises(InvalidInputError, match="no capability"):
        capabilities.named("teleport")


# -- what the wire shows -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "payload", "capability", "expected"),
    [
        (Action.LIST_CERTIFICATES, {"status": "Accepted"}, Capability.LIST_CERTIFICATES, "yes"),
        (Action.INSTALL_CERTIFICATE, {"status": "Accepted"}, Capability.INSTALL_CERTIFICATE, "yes"),
        (Action.DELETE_CERTIFICATE, {"status": "Accepted"}, Capability.DELETE_CERTIFICATE, "yes"),
        (Action.DELIVER_CERTIFICATE, {"status": "Accepted"}, Capability.CERTIFICATE_SIGNED, "yes"),
        (Action.GET_LOG, {"status": "Accepted"}, Capability.SECURITY_LOG_STORE, "yes"),
        (Action.GET_LOG, {"status": "Accepted"}, Capability.GET_LOG, "unknown"),
        (Action.LIST_CERTIFICATES, {"status": "NotApplicable"}, Capability.LIST_CERTIFICATES, "unknown"),
        (Action.REQUEST_CSR, {"status": "Accepted"}, Capability.SIGN_CERTIFICATE, "unknown"),
        (Action.RESET, {"status": "Accepted"}, Capability.ACTIVATION_AND_ROLLBACK, "unknown"),
    ],
)
def test_what_a_station_accepts_its_family_can(
    plane: ControlPlane,
    identity: ManagedIdentity,
    family: ChargerFamily,
    action: Action,
    payload: dict[str, str],
    capability: Capability,
    expected: str,
) -> None:
    answered(plane, identity, action, "accepted", **payload)

    assert state(family, capability) == (expected, "observed" if expected != "unknown" else "")


@pytest.mark.parametrize(
    ("action", "outcome", "payload", "capability", "expected"),
    [
        (Action.GET_LOG, "error", {"error_code": "NotSupported"}, Capability.GET_LOG, "no"),
        (Action.LIST_CERTIFICATES, "error", {"error_code": "NotImplemented"}, Capability.LIST_CERTIFICATES, "no"),
        (Action.REQUEST_CSR, "rejected", {"status": "NotImplemented"}, Capability.SIGN_CERTIFICATE, "no"),
        (Action.INSTALL_CERTIFICATE, "rejected", {"status": "Failed"}, Capability.INSTALL_CERTIFICATE, "yes"),
        (Action.INSTALL_CERTIFICATE, "rejected", {"status": "Rejected"}, Capability.INSTALL_CERTIFICATE, "yes"),
        (Action.GET_LOG, "error", {"error_code": "InternalError"}, Capability.GET_LOG, "yes"),
        (Action.GET_LOG, "timed_out", {}, Capability.GET_LOG, "yes"),
        (Action.RESET, "error", {"error_code": "NotSupported"}, Capability.GET_LOG, "yes"),
        # What it says of certificates for its EVSEs tells nothing of its own.
        (
            Action.REQUEST_CSR,
            "rejected",
            {"status": "NotImplemented", "plug_and_charge": True},
            Capability.SIGN_CERTIFICATE,
            "yes",
        ),
    ],
)
def test_one_station_that_cannot_tells_against_what_was_declared(
    plane: ControlPlane,
    identity: ManagedIdentity,
    family: ChargerFamily,
    action: Action,
    outcome: str,
    payload: dict[str, Any],
    capability: Capability,
    expected: str,
) -> None:
    declare(family, capability, True, plane.clock)

    answered(plane, identity, action, outcome, **payload)

    assert state(family, capability) == (expected, "observed" if expected == "no" else "declared")


def test_a_contradiction_is_an_event_and_stays_visible(
    plane: ControlPlane, identity: ManagedIdentity, family: ChargerFamily
) -> None:
    declare(family, Capability.GET_LOG, True, plane.clock)

    answered(plane, identity, Action.GET_LOG, "error", error_code="NotSupported")

    known = capabilities.state_of(family)[Capability.GET_LOG]
    assert known.source == "CS-1 answered “Asked for its log” with NotSupported"
    assert known.note == "Contradicts what was declared: Data sheet 3"
    event = SecurityEvent.objects.get(type="CapabilityContradicted")
    assert event.identity == identity
    assert "“Acme 7” is no longer taken as capable of GetLog" in event.message
    assert [row.actor for row in FamilyCapability.objects.get().history.all()] == ["station:CS-1", OPERATOR.name]


def test_a_failed_install_shows_nothing_by_itself_and_is_no_proof_against_a_family_that_was_seen_to_install(
    plane: ControlPlane, identity: ManagedIdentity, family: ChargerFamily
) -> None:
    answered(plane, identity, Action.INSTALL_CERTIFICATE, "rejected", status="Failed")
    assert state(family, Capability.INSTALL_CERTIFICATE) == ("unknown", "")
    answered(plane, identity, Action.INSTALL_CERTIFICATE, "accepted", status="Accepted")

    with attributed(OPERATOR, "test"):
        capabilities.observe(family, Capability.INSTALL_CERTIFICATE, False, "One failed", plane.clock(), weak=True)
    assert state(family, Capability.INSTALL_CERTIFICATE) == ("yes", "observed")

    answered(plane, identity, Action.INSTALL_CERTIFICATE, "error", error_code="NotSupported")
    assert state(family, Capability.INSTALL_CERTIFICATE) == ("no", "observed")


def test_after_evidence_against_it_only_a_person_declares_a_capability_anew(
    plane: ControlPlane, identity: ManagedIdentity, family: ChargerFamily
) -> None:
    answered(plane, identity, Action.LIST_CERTIFICATES, "error", error_code="NotSupported")

    answered(plane, identity, Action.LIST_CERTIFICATES, "accepted", status="Accepted")
    assert state(family, Capability.LIST_CERTIFICATES) == ("no", "observed")

    declare(family, Capability.LIST_CERTIFICATES, True, plane.clock)
    assert state(family, Capability.LIST_CERTIFICATES) == ("yes", "declared")
    assert "Overrules what was observed" in capabilities.state_of(family)[Capability.LIST_CERTIFICATES].note
    answered(plane, identity, Action.LIST_CERTIFICATES, "accepted", status="Accepted")
    assert state(family, Capability.LIST_CERTIFICATES) == ("yes", "observed")


def test_what_a_station_sends_by_itself_shows_that_it_can(
    plane: ControlPlane, identity: ManagedIdentity, family: ChargerFamily
) -> None:
    plane.enrol(identity)
    plane.observe("CS-1", Evidence.SECURITY_EVENT, {"type": "StartupOfTheDevice"})
    plane.observe("CS-1", Evidence.LOG_STATUS, {"status": "Uploaded", "request_id": 1})
    plane.read_inbox()

    can = {capability for capability, known in capabilities.state_of(family).items() if known.supported}
    assert can == {
        Capability.SIGN_CERTIFICATE,
        Capability.LOCAL_KEY_AND_CSR,
        Capability.CERTIFICATE_SIGNED,
        Capability.PROFILE_3,
        Capability.SECURITY_EVENT_NOTIFICATION,
        Capability.GET_LOG,
    }


def test_a_charger_without_a_family_shows_nothing_of_any(plane: ControlPlane, family: ChargerFamily) -> None:
    unsorted = charger("CS-9")
    answered(plane, unsorted, Action.GET_LOG, "error", error_code="NotSupported")
    plane.observe("CS-unknown", Evidence.CSR_RECEIVED, {"csr": request_for("CS-unknown")})
    plane.read_inbox()

    assert not FamilyCapability.objects.exists()


def test_evidence_of_what_is_known_writes_nothing(
    plane: ControlPlane, identity: ManagedIdentity, family: ChargerFamily
) -> None:
    plane.observe("CS-1", Evidence.SECURITY_EVENT, {"type": "StartupOfTheDevice"})
    plane.read_inbox()
    plane.observe("CS-1", Evidence.SECURITY_EVENT, {"type": "ResetOrReboot"})
    with CaptureQueriesContext(connection) as captured:
        plane.read_inbox()

    touching = [query["sql"] for query in captured if "familycapability" in query["sql"]]
    assert len(touching) == 1
    assert touching[0].lstrip().startswith("SELECT")


def test_a_capability_is_never_changed_without_an_author(family: ChargerFamily, clock: Clock) -> None:
    with attributed(OPERATOR, "test"):
        assert capabilities.observe(family, Capability.GET_LOG, True, "seen", clock())
        assert not capabilities.observe(family, Capability.GET_LOG, True, "seen again", clock())
    assert FamilyCapability.objects.get().source == "seen"


# -- what one station says against its family --------------------------------------------------------------------------


def deny(plane: ControlPlane, *stations: ManagedIdentity) -> None:
    for station in stations:
        answered(plane, station, Action.GET_LOG, "error", error_code="NotSupported")


def test_one_of_several_stations_takes_no_capability_from_the_others(
    plane: ControlPlane, identity: ManagedIdentity, family: ChargerFamily
) -> None:
    charger("CS-2", family=family)
    declare(family, Capability.GET_LOG, True, plane.clock)

    deny(plane, identity, identity)

    assert state(family, Capability.GET_LOG) == ("yes", "declared")
    known = capabilities.state_of(family)[Capability.GET_LOG]
    assert known.doubts == (f"CS-1 answered “Asked for its log” with NotSupported on {plane.clock():%Y-%m-%d}",)
    event = SecurityEvent.objects.get(type="CapabilityDoubted")
    assert event.identity == identity
    assert "counts for this station alone" in event.message
    assert capabilities.doubted_of([identity]) == {identity.pk: [Capability.GET_LOG]}


def test_a_second_station_that_says_the_same_is_believed(
    plane: ControlPlane, identity: ManagedIdentity, family: ChargerFamily
) -> None:
    second = charger("CS-2", family=family)
    charger("CS-3", family=family)
    declare(family, Capability.GET_LOG, True, plane.clock)

    deny(plane, identity, second)

    assert state(family, Capability.GET_LOG) == ("no", "observed")
    assert capabilities.state_of(family)[Capability.GET_LOG].doubts == ()
    assert SecurityEvent.objects.filter(type="CapabilityContradicted").count() == 1


def test_a_doubt_is_over_when_its_station_shows_otherwise_or_a_person_declares_it_anew(
    plane: ControlPlane, identity: ManagedIdentity, family: ChargerFamily
) -> None:
    second = charger("CS-2", family=family)
    for _ in range(2):
        answered(plane, second, Action.LIST_CERTIFICATES, "accepted", status="Accepted")
    answered(plane, identity, Action.LIST_CERTIFICATES, "error", error_code="NotSupported")
    assert capabilities.state_of(family)[Capability.LIST_CERTIFICATES].doubts

    answered(plane, second, Action.LIST_CERTIFICATES, "accepted", status="Accepted")
    assert capabilities.state_of(family)[Capability.LIST_CERTIFICATES].doubts, "another one shows nothing of this one"
    answered(plane, identity, Action.LIST_CERTIFICATES, "accepted", status="Accepted")
    assert capabilities.state_of(family)[Capability.LIST_CERTIFICATES].doubts == ()

    answered(plane, identity, Action.LIST_CERTIFICATES, "error", error_code="NotSupported")
    declare(family, Capability.LIST_CERTIFICATES, True, plane.clock)
    assert capabilities.state_of(family)[Capability.LIST_CERTIFICATES].doubts == ()


def test_the_page_and_the_api_of_a_family_show_the_doubt(
    plane: ControlPlane, identity: ManagedIdentity, family: ChargerFamily, client: Client
) -> None:
    charger("CS-2", family=family)
    declare(family, Capability.GET_LOG, True, plane.clock)
    deny(plane, identity)
    client.force_login(administrator())

    page = client.get(reverse("admin:inventory_chargerfamily_change", args=[family.pk])).content.decode()
    shown = client.get(f"/api/v1/charger-families/{family.pk}/capabilities")

    said = "CS-1 answered “Asked for its log” with NotSupported"
    assert f"In doubt: {said}" in unescape(page)
    (known,) = [item for item in shown.json() if item["capability"] == "get_log"]
    assert known["doubts"][0].startswith(said)


@pytest.mark.parametrize("year", ["1999-12-31T23:59:59+00", "0044-03-15T00:00:00+00 BC"])
def test_the_database_takes_no_date_from_before_there_were_chargers(
    family: ChargerFamily, clock: Clock, year: str
) -> None:
    declare(family, Capability.GET_LOG, True, clock)
    with pytest.raises(IntegrityError, match="capability_known_since_2000"), connection.cursor() as cursor:
        cursor.execute("UPDATE inventory_familycapability SET as_of = %s::timestamptz", [year])
