"""The documentation says what is so: links lead somewhere, and what it names exists."""

import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command, get_commands

from bfcerts.configuration import BASE_DIRECTORY, Configuration

DOCUMENTS = [BASE_DIRECTORY / "README.md", *sorted((BASE_DIRECTORY / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
CODE = re.compile(r"`([^`\n]+)`")
SOURCE = re.compile(r"(?:[\w.-]+/)+[\w.-]*\.(?:py|md|toml|lock)|(?:bfcerts|inventory|migration|tests)/[\w/]*/")


def numbered(prefix: str, endings: str) -> list[str]:
    """Numbers of one kind, in the order in which their document states them."""
    return [f"{prefix}{ending}" for ending in endings.split()]


SPECIFICATION = [
    *numbered("FR-", "001 001a 002 002a 003 004 005 006 006a 007 008 009 009a 010"),
    *numbered("NFR-", "001 002 003 004 005"),
    *numbered("D-", "001 002 003 004 005 006 007"),
]
ARCHITECTURE = [
    *numbered("A-FR-", "001 002 003 004 005 006 007 008 009 010"),
    *numbered("A-NFR-", "001 002 003 004 005"),
    *numbered("A-D-", "001 002 003 004 005 006 007 008"),
]
COMPLIANCE_CASES = [
    *numbered("TC_A_", "01 02 03 04 06 07 08 09 10 11 12 13 14 19"),
    *numbered("TC_B_", "42 44 58"),
    *numbered("TC_M_", "01 02 03 04 05 12 13 14 15 16 17 18 19 20 21 24 26 28"),
    *numbered("TC_N_", "25 34 35 36"),
]
OBSERVED_BEHAVIOURS = 18


def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def named_in_code(document: Path) -> Iterator[str]:
    """What stands in backquotes, and in blocks of code."""
    blocks = re.findall(r"```.*?```", text_of(document), flags=re.DOTALL)
    yield from blocks
    yield from CODE.findall(re.sub(r"```.*?```", "", text_of(document), flags=re.DOTALL))


@pytest.fixture(scope="module")
def test_names() -> set[str]:
    """Every test of this suite, by its name."""
    sources = (BASE_DIRECTORY / "tests").rglob("*.py")
    return {name for source in sources for name in re.findall(r"\bdef (test_\w+)", text_of(source))}


def test_the_reference_of_settings_is_that_of_the_configuration() -> None:
    printed = StringIO()

    call_command("settings_reference", stdout=printed)

    assert text_of(BASE_DIRECTORY / "docs" / "settings.md") == printed.getvalue()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_that_exist(document: Path) -> None:
    links = [link for link in LINK.findall(text_of(document)) if "://" not in link]

    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_tests_that_are_named_exist(document: Path, test_names: set[str]) -> None:
    named = {name for code in named_in_code(document) for name in re.findall(r"\btest_\w+\b(?!\.py)", code)}

    assert named - test_names == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_source_files_that_are_named_exist(document: Path) -> None:
    named = {path for code in named_in_code(document) for path in SOURCE.findall(code)}

    assert sorted(path for path in named if not (BASE_DIRECTORY / path).exists()) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_settings_and_commands_that_are_named_exist(document: Path) -> None:
    variables = {name for code in named_in_code(document) for name in re.findall(r"\bBFCERTS_[A-Z0-9_]+", code)}
    commands = {name for code in named_in_code(document) for name in re.findall(r"manage\.py (\w+)", code)}
    targets = {name for code in named_in_code(document) for name in re.findall(r"(?:^|\s|`)make (\w+)", code)}

    assert variables - {f"BFCERTS_{name.upper()}" for name in Configuration.model_fields} == set()
    assert commands - set(get_commands()) == set()
    assert targets - set(re.findall(r"^(\w+):", text_of(BASE_DIRECTORY / "Makefile"), flags=re.MULTILINE)) == set()


def rows(document: str) -> list[str]:
    """The first cell of each row of a document's tables."""
    lines = text_of(BASE_DIRECTORY / "docs" / document).splitlines()
    return [line.split("|")[1].strip() for line in lines if line.startswith("| ")]


def test_every_requirement_has_its_row() -> None:
    found = [cell for cell in rows("requirements.md") if re.fullmatch(r"(A-)?(N?FR|D)-\d+a?", cell)]

    assert found == [*SPECIFICATION, *ARCHITECTURE]


def test_every_compliance_case_and_observed_behaviour_has_its_row() -> None:
    found = rows("conformance.md")
    cases = [case for cell in found for case in re.findall(r"TC_[A-Z]_\d\d", cell)]

    assert sorted(cases) == sorted(COMPLIANCE_CASES)
    assert [int(cell) for cell in found if cell.isdigit()] == list(range(1, OBSERVED_BEHAVIOURS + 1))
