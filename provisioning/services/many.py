"""Starting cases of many identities, each alone: whoever cannot be provisioned keeps nobody else waiting."""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from inventory.actors import Actor
from inventory.errors import InvalidInputError, InventoryError
from inventory.models import Cohort, ManagedIdentity
from provisioning.models import ProvisioningCase
from provisioning.services import cases

COLUMNS = ("identifier", "slot", "pcid")
MOST = 100_000
"""Lines of one file."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One case that is wanted."""

    identifier: str
    slot: str = ""
    pcid: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """What became of it: the case, or why there is none."""

    wanted: Wanted
    case: ProvisioningCase | None
    problem: str = ""


def of_cohort(name: str, slot: str = "") -> Iterator[Wanted]:
    """Every member of a cohort.

    :raises InvalidInputError: when there is no such cohort.
    """
    cohort = Cohort.objects.filter(name=name).first()
    if cohort is None:
        raise InvalidInputError(f"There is no cohort {name!r}; name one as it is called.")
    for identifier in cohort.identities().order_by("pk").values_list("authoritative_identifier", flat=True).iterator():
        yield Wanted(identifier, slot)


def of_file(text: str) -> list[Wanted]:
    """The lines of a CSV file with the columns identifier, slot and pcid; the last two may be left out.

    :raises InvalidInputError: naming the column or the line that cannot be used.
    """
    reader = csv.DictReader(io.StringIO(text))
    names = [name.strip().lower() for name in reader.fieldnames or ()]
    if "identifier" not in names or set(names) - set(COLUMNS):
        raise InvalidInputError(
            f"The file needs the columns {', '.join(COLUMNS)}; it has {', '.join(names) or 'none'}."
        )
    reader.fieldnames = names
    found: list[Wanted] = []
    for number, row in enumerate(reader, start=2):
        values = {name: (row.get(name) or "").strip() for name in COLUMNS}
        if not values["identifier"]:
            raise InvalidInputError(f"Line {number} names no identifier; nothing was started.")
        found.append(Wanted(**values))
        if len(found) > MOST:
            raise InvalidInputError(f"The file has more than {MOST} lines; divide it.")
    return found


def start_each(wanted: Iterable[Wanted], *, purpose: str, path: str, actor: Actor, reason: str) -> Iterator[Started]:
    """Start the case of each, in a transaction of its own, and tell what became of it."""
    for one in wanted:
        identity = ManagedIdentity.objects.filter(authoritative_identifier=one.identifier).order_by("pk").first()
        if identity is None:
            yield Started(one, None, f"There is no identity {one.identifier!r}.")
            continue
        try:
            case = cases.start(
                identity=identity,
                purpose=purpose,
                path=path,
                slot=one.slot,
                pcid=one.pcid,
                actor=actor,
                reason=reason,
            )
        except InventoryError as error:
            yield Started(one, None, str(error))
        else:
            yield Started(one, case)
