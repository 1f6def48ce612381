"""Taking over the keys that a fleet uses already, from a CSV file: looked at as a whole first, and never echoed."""

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from django.utils import timezone

from inventory.actors import Actor
from inventory.choices import SubjectKind
from inventory.clock_limits import EARLIEST_PLAUSIBLE
from inventory.errors import InvalidInputError, InventoryError
from inventory.models import ManagedIdentity
from inventory.words import counted
from migration.key_choices import ACCEPTED_KEY_STATES
from migration.models import AuthorizationKey
from migration.services import authorization_keys
from migration.services.authorization_keys import needed
from migration.services.secrets_of_keys import checked, digest_of

PERMISSION: Final = "migration.set_authorizationkey"
COLUMNS: Final = ("charger", "secret", "created_at", "last_success_at")
REQUIRED: Final = ("charger", "secret")
MOST_LINES: Final = 200_000
LONGEST_FILE: Final = 32 * 2**20
"""Bytes."""
_BATCH: Final = 1_000


@dataclass(frozen=True, slots=True)
class Line:
    """One key to take over."""

    number: int
    charger: str
    secret: str = field(repr=False)
    created_at: datetime | None
    last_success_at: datetime | None


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one line; never with the secret in it."""

    number: int
    sentence: str

    def __str__(self) -> str:
        return f"Line {self.number}: {self.sentence}"


@dataclass(slots=True)
class Outcome:
    """What an import came to, or would come to."""

    lines: int = 0
    new: int = 0
    unchanged: int = 0
    shared: int = 0
    """Of the new ones, how many use the key of another charger: they are taken over, and told of."""
    problems: list[Problem] = field(default_factory=list)


def dry_run(*, text: str, actor: Actor, now: datetime | None = None) -> Outcome:
    """What importing a file would do, with every problem by its line; nothing is changed."""
    actor.require(PERMISSION)
    return _look(text, now or timezone.now())[0]


def run(
    *,
    text: str,
    actor: Actor,
    reason: str,
    now: datetime | None = None,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Import a file, if all its lines are right; with any problem nothing is imported.

    Each key is taken over in a transaction of its own, and one that is there already is left as it is: an import that
    was cut off is simply run again.

    :param progress: is told how many lines are done.
    """
    actor.require(PERMISSION)
    why, moment = needed(reason), now or timezone.now()
    outcome, lines = _look(text, moment)
    if outcome.problems:
        return outcome
    done = 0
    for batch in _in_batches(lines):
        identities = _chargers(batch)
        for line in batch:
            try:
                authorization_keys.import_existing(
                    identity=identities[line.charger],
                    secret=line.secret,
                    actor=actor,
                    reason=why,
                    created_at=line.created_at,
                    last_success_at=line.last_success_at,
                    now=moment,
                )
            except InventoryError as error:
                # Somebody set another key since the file was looked at; the other lines are right all the same.
                outcome.problems.append(Problem(line.number, str(error)))
        done += len(batch)
        if progress is not None:
            progress(done)
    return outcome


def _look(text: str, now: datetime) -> tuple[Outcome, list[Line]]:
    outcome = Outcome()
    lines = _read(text, outcome, now)
    seen: dict[str, int] = {}
    digests: dict[str, str] = {}
    for line in lines:
        if line.charger in seen:
            outcome.problems.append(
                Problem(line.number, f"{line.charger} is in line {seen[line.charger]} already; keep one of them.")
            )
        seen.setdefault(line.charger, line.number)
    for batch in _in_batches(lines):
        _judge(batch, digests, outcome)
    outcome.lines = len(lines)
    outcome.problems.sort(key=lambda problem: problem.number)
    return outcome, lines


def _read(text: str, outcome: Outcome, now: datetime) -> list[Line]:
    if len(text) > LONGEST_FILE:
        raise InvalidInputError(f"The file is larger than {LONGEST_FILE // 2**20} MiB; import it in parts.")
    reader = csv.reader(io.StringIO(text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")), strict=True)
    lines: list[Line] = []
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        _check_header(header)
        for values in reader:
            if not any(value.strip() for value in values):
                continue
            if len(lines) >= MOST_LINES:
                raise InvalidInputError(f"The file has more than {MOST_LINES:,} lines; import it in parts.")
            line = _line(reader.line_num, header, values, outcome, now)
            if line is not None:
                lines.append(line)
    except csv.Error:
        raise InvalidInputError(
            f"Line {reader.line_num} is no CSV: check its quotation marks. Nothing was imported."
        ) from None
    return lines


def _check_header(header: list[str]) -> None:
    missing = [name for name in REQUIRED if name not in header]
    unknown = [name for name in header if name not in COLUMNS]
    if missing or unknown or len(set(header)) != len(header):
        raise InvalidInputError(
            f"The first line must name the columns {', '.join(COLUMNS)}, each once; the last two may be left out."
        )


def _line(number: int, header: list[str], values: list[str], outcome: Outcome, now: datetime) -> Line | None:
    if len(values) != len(header):
        outcome.problems.append(
            Problem(
                number,
                f"{counted(len(values), 'column')} instead of {len(header)}.",
            )
        )
        return None
    row = dict(zip(header, values, strict=True))
    problems = []
    charger = row["charger"].strip()
    if not charger:
        problems.append("No charger is named.")
    try:
        checked(row["secret"])
    except InvalidInputError as error:
        problems.append(str(error))
    times = {}
    for name in ("created_at", "last_success_at"):
        try:
            times[name] = _time(row.get(name, "").strip(), now)
        except (ValueError, OverflowError):
            problems.append(f"{name} must be a time up to now, as 2025-01-31T12:00:00Z, or empty.")
            times[name] = None
    outcome.problems += [Problem(number, sentence) for sentence in problems]
    return None if problems else Line(number, charger, row["secret"], times["created_at"], times["last_success_at"])


def _time(text: str, now: datetime) -> datetime | None:
    if not text:
        return None
    parsed = datetime.fromisoformat(text)
    moment = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    if moment > now or moment < EARLIEST_PLAUSIBLE:
        raise ValueError(text)
    return moment


def _judge(batch: list[Line], digests: dict[str, str], outcome: Outcome) -> None:
    """Compare with what is in the inventory, a batch at a time.

    :param digests: of the lines so far, with the charger of each: two lines with one key share it.
    """
    identities = _chargers(batch)
    present: dict[int, dict[str, AuthorizationKey]] = {}
    for key in AuthorizationKey.objects.filter(identity__in=identities.values(), state__in=ACCEPTED_KEY_STATES):
        present.setdefault(key.identity_id, {})[key.digest] = key
    wanted = {line.number: digest_of(line.secret) for line in batch}
    elsewhere: dict[str, set[int]] = {}
    users = AuthorizationKey.objects.filter(digest__in=wanted.values(), state__in=ACCEPTED_KEY_STATES)
    for digest, identity_id in users.values_list("digest", "identity_id"):
        elsewhere.setdefault(digest, set()).add(identity_id)
    for line in batch:
        identity = identities.get(line.charger)
        if identity is None:
            outcome.problems.append(Problem(line.number, _unknown(line.charger)))
            continue
        keys, digest = present.get(identity.pk, {}), wanted[line.number]
        if keys and digest not in keys:
            outcome.problems.append(Problem(line.number, authorization_keys.another_key(line.charger)))
        elif keys:
            outcome.unchanged += 1
        else:
            outcome.new += 1
            others = elsewhere.get(digest, set()) - {identity.pk}
            outcome.shared += bool(others) or digests.get(digest, line.charger) != line.charger
        digests.setdefault(digest, line.charger)


def _unknown(name: str) -> str:
    alike = ManagedIdentity.objects.filter(kind=SubjectKind.CHARGER, authoritative_identifier__iexact=name).first()
    if alike is not None:
        return f"There is no charger {name[:64]!r} in the inventory, but {alike}: mind the capitals."
    return f"There is no charger {name[:64]!r} in the inventory; add it first."


def _chargers(batch: Iterable[Line]) -> dict[str, ManagedIdentity]:
    named = ManagedIdentity.objects.filter(
        kind=SubjectKind.CHARGER, authoritative_identifier__in=[line.charger for line in batch]
    )
    return {identity.authoritative_identifier: identity for identity in named}


def _in_batches(lines: list[Line]) -> Iterable[list[Line]]:
    for start in range(0, len(lines), _BATCH):
        yield lines[start : start + _BATCH]
