"""The capability matrix as CSV: out as it is known, in as declarations, looked at before anything is stored."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time

from django.db import transaction

from inventory.actors import Actor
from inventory.choices import Capability, CapabilityBasis
from inventory.clock_limits import EARLIEST_PLAUSIBLE
from inventory.errors import InvalidInputError, InventoryError
from inventory.models import ChargerFamily, FamilyCapability
from inventory.services import capabilities
from inventory.services.capabilities import CapabilityState

COLUMNS = ("family", "capability", "supported", "basis", "source", "as_of", "note")
NEEDED = ("family", "capability", "supported")
MOST_LINES = 20_000
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_WORDS: dict[str, bool | None] = {"yes": True, "no": False, "unknown": None}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file that says something new."""

    number: int
    family: ChargerFamily
    state: CapabilityState
    """What it declares."""
    before: CapabilityState

    def __str__(self) -> str:
        before, after = self.before, self.state
        same = before.supported == after.supported
        change = f"stays {after.word}" if same else f"{before.word} becomes {after.word}"
        contradicts = not same and before.basis == CapabilityBasis.OBSERVED and before.supported is not None
        if same:
            # Only where it is known from is another.
            told = f"; now by {after.source}, before by {before.source}"
        else:
            told = f"; contradicts what was observed: {before.source}" if contradicts else ""
        return f"line {self.number}: {self.family}, {after.capability.label}: {change}{told}"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file comes to."""

    changes: list[Line] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    unchanged: int = 0


def export() -> Iterator[str]:
    """The matrix, a line at a time; what is unknown is not in it."""
    yield _csv_line(COLUMNS)
    rows = FamilyCapability.objects.select_related("family").order_by("family__name", "capability")
    for row in rows.iterator(chunk_size=1_000):
        supported = "yes" if row.supported else "no"
        as_of = row.as_of.astimezone(UTC).isoformat()
        yield _csv_line((row.family.name, row.capability, supported, row.basis, row.source, as_of, row.note))


def read(text: str, now: datetime) -> Reading:
    """Look at a file: what it would change, and what is wrong with it, line by line. Nothing is stored."""
    reading = Reading()
    table = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    columns = [name.strip().lower() for name in table.fieldnames or []]
    table.fieldnames = columns
    if missing := [name for name in NEEDED if name not in columns]:
        names = ", ".join(missing)
        reading.errors.append(f"line 1: the column {names} is missing; the columns are {', '.join(COLUMNS)}.")
        return reading
    families = {family.name: family for family in ChargerFamily.objects.all()}
    known: dict[int, dict[Capability, CapabilityState]] = {}
    unchanged, seen = 0, dict[tuple[int, str], int]()
    try:
        for number, row in enumerate(table, start=2):
            if number > MOST_LINES:
                reading.errors.append(f"line {number}: a file has at most {MOST_LINES:,} lines; make two of it.")
                break
            try:
                line = _line(number, row, families, known, now)
                place = (line.family.pk, line.state.capability.value)
                if place in seen:
                    raise InvalidInputError(f"line {seen[place]} says something of the same capability already")
            except InventoryError as error:
                reading.errors.append(f"line {number}: {str(error).rstrip('.')}.")
                continue
            seen[place] = number
            if _says_nothing_new(line):
                unchanged += 1
            else:
                reading.changes.append(line)
    except csv.Error as error:
        reading.errors.append(f"line {table.line_num}: this is no CSV: {error}.")
    return Reading(reading.changes, reading.errors, unchanged)


def take_in(*, text: str, actor: Actor, reason: str, now: datetime) -> Reading:
    """Store what a file declares: all of it, or nothing where a line is wrong.

    :raises NotPermittedError: without `change_chargerfamily`.
    :raises InvalidInputError: when a line is wrong; `read` tells which.
    """
    actor.require("change_chargerfamily")
    reading = read(text, now)
    if reading.errors:
        more = len(reading.errors) - 3
        said = " ".join(reading.errors[:3]) + (f" And {more} more." if more > 0 else "")
        raise InvalidInputError(f"Nothing was stored. {said}")
    with transaction.atomic():
        for line in reading.changes:
            capabilities.declare(
                family=line.family,
                capability=line.state.capability,
                supported=line.state.supported,
                source=line.state.source,
                actor=actor,
                reason=reason,
                now=line.state.as_of or now,
            )
    return reading


def _line(
    number: int,
    row: dict[str, str | None],
    families: dict[str, ChargerFamily],
    known: dict[int, dict[Capability, CapabilityState]],
    now: datetime,
) -> Line:
    cell = {name: value.strip() for name, value in row.items() if isinstance(value, str) and name}
    name = _as_it_was(cell.get("family", ""))
    family = families.get(name)
    if family is None:
        raise InvalidInputError(f"there is no family {name!r}")
    capability = capabilities.named(cell.get("capability", ""))
    word = cell.get("supported", "").lower()
    if word not in _WORDS:
        raise InvalidInputError(f"supported is {word!r}; write yes, no or unknown")
    source = _as_it_was(cell.get("source", ""))
    if _WORDS[word] is not None and not source:
        raise InvalidInputError("a source is needed: name the data sheet, the letter or the test that says so")
    if family.pk not in known:
        known[family.pk] = capabilities.state_of(family)
    state = CapabilityState(
        capability, _WORDS[word], cell.get("basis", "") or "declared", source, _time(cell.get("as_of", ""), now)
    )
    return Line(number, family, state, known[family.pk][capability])


def _says_nothing_new(line: Line) -> bool:
    """What is known so already, from the same source: as an exported file that comes back unchanged."""
    said, known = line.state, line.before
    if said.supported is None:
        return known.supported is None
    if said.supported == known.supported and CapabilityBasis.OBSERVED in (said.basis, known.basis):
        # A file declares and observes nothing: what was seen since, or by another station, is known the better way.
        return True
    return (said.supported, said.source, said.basis) == (known.supported, known.source, known.basis)


def _time(text: str, now: datetime) -> datetime:
    if not text:
        return now
    try:
        if len(text) == 10:
            found = datetime.combine(date.fromisoformat(text), time.min, tzinfo=UTC)
        else:
            stated = datetime.fromisoformat(text)
            found = (stated if stated.tzinfo else stated.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidInputError(f"as_of is {text!r}; write it as 2027-01-31 or 2027-01-31T12:00:00+00:00") from None
    if found > now:
        raise InvalidInputError(f"as_of is {text}, which is not over yet")
    if found < EARLIEST_PLAUSIBLE:
        raise InvalidInputError(f"as_of is {text}, which is before there were chargers; correct the year")
    return found


def _csv_line(values: tuple[str, ...]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow([_harmless(value) for value in values])
    return buffer.getvalue()


def _harmless(value: str) -> str:
    """A cell that a spreadsheet takes for text: what begins like a formula came from outside."""
    return f"'{value}" if value.lstrip("'")[:1] in _FORMULA else value


def _as_it_was(cell: str) -> str:
    """What `_harmless` was given."""
    return cell[1:] if cell[:1] == "'" and cell.lstrip("'")[:1] in _FORMULA else cell
