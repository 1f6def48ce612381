"""The capability matrix out of and into CSV: what comes out goes in again, and a wrong line stores nothing."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError

from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import Capability
from inventory.errors import InvalidInputError, NotPermittedError
from inventory.models import ChargerFamily, FamilyCapability
from inventory.services import capabilities, capability_files, catalogue
from tests.support import OPERATOR, Clock

pytestmark = pytest.mark.django_db

HEAD = "family,capability,supported,source,as_of\n"


@pytest.fixture
def family() -> ChargerFamily:
    entry = ChargerFamily(name="Acme 7", vendor="Acme", model="7")
    return catalogue.save(entry=entry, actor=OPERATOR, reason="test")


def take_in(text: str, clock: Clock) -> capability_files.Reading:
    return capability_files.take_in(text=text, actor=OPERATOR, reason="vendor's list", now=clock())


def test_what_comes_out_goes_in_again_unchanged(family: ChargerFamily, clock: Clock) -> None:
    take_in(f"{HEAD}Acme 7,get_log,yes,Data sheet,2026-01-31\nAcme 7,delete_certificate,no,Letter,\n", clock)
    with attributed(OPERATOR, "test"):
        capabilities.observe(family, Capability.LIST_CERTIFICATES, False, "CS-1 said so", clock())

    out = "".join(capability_files.export())
    reading = capability_files.read(out, clock() + timedelta(days=1))

    assert out.splitlines()[0] == "family,capability,supported,basis,source,as_of,note"
    assert len(out.splitlines()) == 4
    assert (reading.changes, reading.errors, reading.unchanged) == ([], [], 3)


def test_a_file_declares_with_source_and_date(family: ChargerFamily, clock: Clock) -> None:
    reading = take_in(f"{HEAD}Acme 7,get_log,YES,Data sheet,2026-01-31\n", clock)

    assert [str(line) for line in reading.changes] == [
        "line 2: Acme 7, GetLog and LogStatusNotification: unknown becomes yes"
    ]
    known = capabilities.state_of(family)[Capability.GET_LOG]
    assert (known.supported, known.basis, known.source) == (True, "declared", "Data sheet")
    assert known.as_of == datetime(2026, 1, 31, tzinfo=UTC)
    assert FamilyCapability.objects.get().history.get().history_change_reason == "vendor's list"


def test_a_declaration_against_evidence_is_pointed_out(family: ChargerFamily, clock: Clock) -> None:
    with attributed(OPERATOR, "test"):
        capabilities.observe(family, Capability.GET_LOG, False, "CS-1 answered NotSupported", clock())

    (line,) = capability_files.read(f"{HEAD}Acme 7,get_log,yes,Data sheet,\n", clock()).changes

    assert str(line).endswith("no becomes yes; contradicts what was observed: CS-1 answered NotSupported")


def test_what_was_seen_meanwhile_and_agrees_is_no_contradiction(family: ChargerFamily, clock: Clock) -> None:
    take_in(f"{HEAD}Acme 7,get_log,yes,Data sheet,\nAcme 7,certificate_signed,yes,Data sheet,\n", clock)
    exported = "".join(capability_files.export())
    with attributed(OPERATOR, "test"):
        capabilities.observe(family, Capability.CERTIFICATE_SIGNED, True, "CS-2 accepted “Certificate sent”", clock())

    reading = capability_files.read(exported, clock())

    assert (reading.changes, reading.errors, reading.unchanged) == ([], [], 2)


def test_another_source_for_the_same_is_told_as_one(family: ChargerFamily, clock: Clock) -> None:
    take_in(f"{HEAD}Acme 7,get_log,yes,Data sheet,\n", clock)

    (line,) = capability_files.read(f"{HEAD}Acme 7,get_log,yes,Letter of May,\n", clock()).changes

    assert str(line).endswith("GetLog and LogStatusNotification: stays yes; now by Letter of May, before by Data sheet")


def test_unknown_takes_back_what_was_known(family: ChargerFamily, clock: Clock) -> None:
    take_in(f"{HEAD}Acme 7,get_log,yes,Data sheet,\n", clock)

    take_in(f"{HEAD}Acme 7,get_log,unknown,,\n", clock)

    assert not FamilyCapability.objects.exists()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("Acme 8,get_log,yes,x,", "line 3: there is no family 'Acme 8'."),
        ("Acme 7,teleport,yes,x,", "line 3: 'teleport' is no capability"),
        ("Acme 7,get_log,perhaps,x,", "line 3: supported is 'perhaps'; write yes, no or unknown."),
        ("Acme 7,get_log,yes,,", "line 3: a source is needed"),
        ("Acme 7,get_log,yes,x,yesterday", "line 3: as_of is 'yesterday'"),
        ("Acme 7,get_log,yes,x,2999-01-01", "line 3: as_of is 2999-01-01, which is not over yet."),
        ("Acme 7,sign_certificate,no,x,", "line 3: line 2 says something of the same capability already."),
        ("Acme 7", "line 3: '' is no capability"),
    ],
)
def test_a_wrong_line_is_named_and_stores_nothing(
    family: ChargerFamily, clock: Clock, line: str, sentence: str
) -> None:
    text = f"{HEAD}Acme 7,sign_certificate,yes,Data sheet,\n{line}\n"

    (error,) = capability_files.read(text, clock()).errors
    assert error.startswith(sentence)
    with pytest.raises(InvalidInputError, match=r"Nothing was stored\. line 3"):
        take_in(text, clock)
    assert not FamilyCapability.objects.exists()


@pytest.mark.parametrize("text", ["", "family,capability\nAcme 7,get_log\n", "\ufeffname;capability;supported\n"])
def test_a_file_without_its_columns_is_refused(family: ChargerFamily, clock: Clock, text: str) -> None:
    (error,) = capability_files.read(text, clock()).errors

    assert error.startswith("line 1: the column")


def test_importing_takes_the_permission(family: ChargerFamily, clock: Clock) -> None:
    nobody = Actor.person(User.objects.create_user("nobody"))

    with pytest.raises(NotPermittedError):
        capability_files.take_in(text=HEAD, actor=nobody, reason="test", now=clock())


def test_what_came_from_outside_is_no_formula_in_a_spreadsheet(family: ChargerFamily, clock: Clock) -> None:
    take_in(f'{HEAD}Acme 7,get_log,yes,"=HYPERLINK(1)",\n', clock)

    out = "".join(capability_files.export())
    assert ",'=HYPERLINK(1)," in out
    assert capability_files.read(out, clock()).unchanged == 1


def test_the_command_looks_first_and_stores_when_told(family: ChargerFamily, tmp_path: Path) -> None:
    User.objects.create_superuser("maria")
    file, out = tmp_path / "matrix.csv", StringIO()
    file.write_text(f"{HEAD}Acme 7,get_log,yes,Data sheet,\n", encoding="utf-8")

    call_command("capabilities", "import", str(file), stdout=out)
    assert not FamilyCapability.objects.exists()
    assert "1 change, 0 unchanged, 0 wrong lines." in out.getvalue()

    call_command("capabilities", "import", str(file), "--apply", "--as", "maria", "--reason", "list", stdout=out)
    assert FamilyCapability.objects.get().history.get().actor == "person:maria"
    call_command("capabilities", "export", str(tmp_path / "out.csv"))
    assert "Acme 7,get_log,yes,declared,Data sheet," in (tmp_path / "out.csv").read_text(encoding="utf-8")


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes(b"family\xe9,")

    for arguments, sentence in (
        (["import"], "Name the file"),
        (["import", str(tmp_path / "missing.csv")], "No such file"),
        (["import", str(tmp_path / "latin.csv")], "not UTF-8"),
    ):
        with pytest.raises(CommandError, match=sentence):
            call_command("capabilities", *arguments)


@pytest.mark.parametrize("text", ["0001-01-01", "0001-01-01T00:00:00+14:00", "1999-12-31T23:59:59Z"])
def test_a_time_that_cannot_be_is_refused_and_the_family_stays_readable(
    family: ChargerFamily, clock: Clock, text: str
) -> None:
    with pytest.raises(InvalidInputError, match="line 2: as_of is"):
        take_in(f"{HEAD}Acme 7,get_log,yes,Data sheet,{text}\n", clock)
    assert capabilities.state_of(family)[Capability.GET_LOG].supported is None


@pytest.mark.parametrize("name", ["-Eagle", "=Eagle", "'-Eagle", "'Eagle"])
def test_a_name_that_a_spreadsheet_could_take_for_a_formula_comes_back(name: str, clock: Clock) -> None:
    catalogue.save(entry=ChargerFamily(name=name, vendor="Volta", model="1"), actor=OPERATOR, reason="test")
    catalogue.save(entry=ChargerFamily(name="Eagle", vendor="Volta", model="2"), actor=OPERATOR, reason="test")
    written = f"'{name}" if name.lstrip("'")[0] in "=-" else name
    take_in(f"{HEAD}{written},get_log,yes,{name} letter,\n", clock)

    out = "".join(capability_files.export())
    reading = capability_files.read(out, clock())

    assert FamilyCapability.objects.get().family.name == name
    assert out.splitlines()[1].startswith(f"{written},get_log,")
    assert (reading.errors, reading.unchanged) == ([], 1)
