"""Which family a charger belongs to: by vendor, model and firmware, in the order of versions."""

import pytest

from bfcerts.ocpp.canonical import Evidence
from inventory.models import ChargerFamily, ManagedIdentity, SecurityEvent
from inventory.services import catalogue, families
from inventory.services.families import version_key
from tests.support import OPERATOR, ControlPlane, charger


def family(name: str, firmware_from: str = "", firmware_to: str = "", model: str = "7") -> ChargerFamily:
    entry = ChargerFamily(name=name, vendor="Acme", model=model, firmware_from=firmware_from, firmware_to=firmware_to)
    return catalogue.save(entry=entry, actor=OPERATOR, reason="test")


def boot(plane: ControlPlane, identity: ManagedIdentity, firmware: str, model: str = "7", vendor: str = "Acme") -> None:
    plane.observe(
        identity.authoritative_identifier,
        Evidence.BOOTED,
        {"vendor": vendor, "model": model, "firmware_version": firmware, "reason": "PowerUp"},
    )
    plane.read_inbox()
    identity.refresh_from_db()


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("1.9", "1.10"),
        ("1.2.3", "1.2.3.1"),
        ("V2.0", "v3"),
        ("v1.9", "2.0"),
        ("1.0-rc1", "1.0.0"),
        ("2.0-rc1", "2.0"),
        ("2.0-rc1", "2.0-rc2"),
        ("1.0-beta", "1.0.1"),
        ("2023-12-01", "2024-01-01"),
        ("", "0.1"),
    ],
)
def test_versions_are_ordered_as_people_mean_them(lower: str, higher: str) -> None:
    assert version_key(lower) < version_key(higher)


@pytest.mark.parametrize(("one", "same"), [("1.0", "1"), ("1.2", "01.02"), ("1_2", "1.2"), ("1.2-RC1", "1.2-rc1")])
def test_versions_that_differ_only_in_writing_are_the_same(one: str, same: str) -> None:
    assert version_key(one) == version_key(same)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("firmware", "expected"),
    [
        ("1.0", "old"),
        ("1.9.9", "old"),
        ("1.10", "new"),
        ("2.5", "new"),
        ("3.0", None),
        ("0.9", None),
        ("", None),
    ],
)
def test_the_range_of_firmware_decides(firmware: str, expected: str | None) -> None:
    family("old", "1.0", "1.9.9")
    family("new", "1.10", "2.9")

    found = families.match("ACME", " 7 ", firmware)

    assert (found.name if found else None) == expected


@pytest.mark.django_db
def test_where_ranges_overlap_the_one_that_begins_latest_wins() -> None:
    family("any")
    family("narrow", "2.0")

    assert str(families.match("Acme", "7", "2.1")) == "narrow"
    assert str(families.match("Acme", "7", "1.0")) == "any"
    assert str(families.match("Acme", "7", "")) == "any"
    assert families.match("Acme", "8", "2.1") is None


@pytest.mark.django_db
def test_a_charger_is_put_into_its_family_when_it_boots(plane: ControlPlane) -> None:
    entry = family("Acme 7")
    identity = charger("CS-1")

    boot(plane, identity, "1.0")

    assert identity.family == entry
    assert identity.history.first().actor == "station:CS-1"
    event = SecurityEvent.objects.get(type="FamilyChanged")
    assert (event.severity, event.identity) == ("info", identity)
    boot(plane, identity, "1.0")
    assert SecurityEvent.objects.filter(type="FamilyChanged").count() == 1


@pytest.mark.django_db
def test_a_charger_that_changes_family_is_an_event(plane: ControlPlane) -> None:
    family("old", "1.0", "1.9")
    family("new", "2.0", "2.9")
    identity = charger("CS-1")
    boot(plane, identity, "1.0")

    boot(plane, identity, "2.0")

    assert str(identity.family) == "new"
    event = SecurityEvent.objects.filter(type="FamilyChanged").latest("pk")
    assert event.severity == "warning"
    assert event.message.startswith("CS-1 changed from the family “old” to “new”")
    assert event.payload == {"before": "old", "after": "new"}


@pytest.mark.django_db
def test_firmware_that_no_family_covers_takes_the_charger_out_of_its_family(plane: ControlPlane) -> None:
    family("old", "1.0", "1.9")
    identity = charger("CS-1")
    boot(plane, identity, "1.0")

    boot(plane, identity, "3.0")

    assert identity.family is None
    assert "which no family covers" in SecurityEvent.objects.filter(type="FamilyChanged").latest("pk").message


@pytest.mark.django_db
def test_a_charger_stays_where_a_person_has_put_it_when_nothing_fits(plane: ControlPlane) -> None:
    by_hand = family("By hand", model="Fast charger (all)")
    identity = charger("CS-1", family=by_hand)

    boot(plane, identity, "1.0")
    boot(plane, identity, "1.0", vendor="", model="")

    assert identity.family == by_hand
    assert not SecurityEvent.objects.filter(type="FamilyChanged").exists()


@pytest.mark.django_db
def test_a_charger_that_says_something_else_at_each_boot_does_not_fill_the_history(plane: ControlPlane) -> None:
    old, new = family("old", "1.0", "1.9"), family("new", "2.0", "2.9")
    identity = charger("CS-1")
    before = identity.history.count()

    for number in range(12):
        boot(plane, identity, f"{1 + number % 2}.{number // 2}")
        plane.clock.advance(seconds=1)
        # Whatever is in the history: what it says last is what counts.
        assert identity.firmware_version == f"{1 + number % 2}.{number // 2}"
        assert identity.family == (new if number % 2 else old)

    assert identity.history.count() - before == 6
    assert SecurityEvent.objects.filter(type="FamilyChanged").count() == 3
    warning = SecurityEvent.objects.get(type="BootReportsKeepChanging")
    assert warning.identity == identity
    assert "says something else of itself at each boot" in warning.message

    plane.clock.advance(hours=2)
    boot(plane, identity, "1.8")

    assert identity.history.count() - before == 8
    assert identity.history.latest().firmware_version == "1.8"
