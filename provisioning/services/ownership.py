"""Ownership decisions: what applies to whom, saving one, and the matrix as people and programs read it."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from inventory.actors import Actor
from inventory.choices import KeyOwner, OperatingMode, SourceOfTruth
from inventory.errors import InvalidInputError
from inventory.models import CertificateRecord
from inventory.ownership import Ownership
from inventory.purposes import purpose as purpose_entry
from inventory.purposes import purposes
from inventory.services.command import command
from provisioning import paths
from provisioning.choices import OurRole, Variability
from provisioning.models import OwnershipDecision
from provisioning.models.ownership import REQUIRED, label_of

FIELDS = ("purpose", "program", *REQUIRED, "authority_contact", "support_contact", "note")
"""The eleven fields, the program that they are decided for, and where people are reached."""
_NEW = "a decision"


def decision(purpose_key: str, program: str) -> Ownership:
    """What applies: the program's own decision, or the general one where that says that it is the same everywhere."""
    found = {
        item.program: item for item in OwnershipDecision.objects.filter(purpose=purpose_key, program__in={program, ""})
    }
    own = found.get(program)
    if own is not None:
        return _as_ownership(own, own.missing)
    general = found.get("")
    if general is None:
        return Ownership(complete=False, missing=(_NEW,))
    if general.variability == Variability.GLOBAL:
        return _as_ownership(general, general.missing)
    differs = general.get_variability_display().lower() or "program variability is open"
    return _as_ownership(general, (*general.missing, f"a decision for program {program} (the general one {differs})"))


def _as_ownership(item: OwnershipDecision, missing: tuple[str, ...]) -> Ownership:
    return Ownership(
        complete=not missing,
        missing=missing,
        mode=item.mode,
        source_of_truth=item.source_of_truth or SourceOfTruth.WHOLE_CHAIN,
        key_owner=item.private_key_owner,
        authority=item.revocation_authority,
        contact=item.authority_contact,
        support=f"{item.support_owner}, {item.support_contact}".strip(", "),
    )


def save(*, entry: OwnershipDecision, actor: Actor, reason: str) -> OwnershipDecision:
    """Store a new or changed decision, as far as it is made; what is left empty is open.

    :raises InvalidInputError: naming every field that cannot be used, and what contradicts what.
    """
    verb = "add" if entry._state.adding else "change"
    with command(actor, f"provisioning.{verb}_ownershipdecision", reason):
        for name in FIELDS:
            setattr(entry, name, getattr(entry, name).strip())
        if not entry._state.adding:
            stored = OwnershipDecision.objects.select_for_update().get(pk=entry.pk)
            if (stored.purpose, stored.program) != (entry.purpose, entry.program):
                raise InvalidInputError("The purpose and the program of a decision never change; make another one.")
        _check(entry)
        try:
            with transaction.atomic():
                entry.save()
        except IntegrityError:
            raise InvalidInputError(f"{entry} is decided already; change that decision.") from None
    return entry


def _check(item: OwnershipDecision) -> None:
    try:
        item.clean_fields()
    except ValidationError as error:
        raise InvalidInputError(
            "; ".join(f"{name.replace('_', ' ')}: {' '.join(told)}" for name, told in error.message_dict.items())
        ) from None
    entry = purpose_entry(item.purpose)
    if not entry.ownership_to_decide:
        raise InvalidInputError(f"{entry.label} certificates are ours alone; there is nothing to decide.")
    wrong: list[str] = []
    if item.our_role == OurRole.ISSUER and item.source_of_truth not in ("", SourceOfTruth.WHOLE_CHAIN):
        wrong.append("whoever issues keeps the whole certificate and its chain")
    if item.our_role == OurRole.ISSUER and item.private_key_owner not in ("", KeyOwner.ENDPOINT):
        wrong.append("we issue to requests only, so the endpoint has to own the private key")
    if item.program and item.variability == Variability.GLOBAL:
        wrong.append("a decision for one program is not the same everywhere")
    if item.delivery_path and item.delivery_path not in {one.key for one in paths.paths_of(item.purpose)}:
        wrong.append(f"{entry.label} certificates are not delivered by {item.get_delivery_path_display()}")
    if wrong:
        raise InvalidInputError(f"This contradicts itself: {'; '.join(wrong)}.")
    kept = item.source_of_truth or SourceOfTruth.WHOLE_CHAIN
    if kept != SourceOfTruth.WHOLE_CHAIN and (stored := stored_beyond(item)):
        raise InvalidInputError(
            f"{stored} certificates of this purpose and program are stored with more than "
            f"“{SourceOfTruth(kept).label.lower()}”. Revoke or retire and delete them first, or keep this level."
        )


def stored_beyond(item: OwnershipDecision) -> int:
    """How many living records have more than the decision lets be stored."""
    records = CertificateRecord.objects.filter(purpose=item.purpose).exclude(state="deleted")
    records = records.exclude(mode=OperatingMode.MANAGED)
    if item.program:
        records = records.filter(identity__program=item.program)
    else:
        others = OwnershipDecision.objects.filter(purpose=item.purpose).exclude(program="")
        records = records.exclude(identity__program__in=list(others.values_list("program", flat=True)))
    if item.source_of_truth == SourceOfTruth.LIFECYCLE_ONLY:
        records = records.exclude(certificate_pem="", chain_pem="")
    return records.count()


@dataclass(frozen=True, slots=True)
class Row:
    """One decision as the printed matrix shows it."""

    title: str
    cells: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]
    decision: OwnershipDecision | None


def matrix() -> list[Row]:
    """Every purpose that has to be decided, with each of its decisions; those without any are listed too."""
    by_purpose: dict[str, list[OwnershipDecision]] = {}
    for item in OwnershipDecision.objects.order_by("purpose", "program"):
        by_purpose.setdefault(item.purpose, []).append(item)
    found: list[Row] = []
    for entry in purposes():
        if not entry.ownership_to_decide:
            continue
        decided = by_purpose.get(entry.key, [])
        found += [Row(str(item), _cells(item), item.missing, item) for item in decided]
        if not decided:
            found.append(Row(entry.label, (), ("every field",), None))
    return found


def _cells(item: OwnershipDecision) -> tuple[tuple[str, str], ...]:
    names: Sequence[str] = ("purpose", *REQUIRED, "authority_contact", "support_contact")
    return tuple((_capital(label_of(name)), shown(item, name)) for name in names)


def _capital(label: str) -> str:
    return label[:1].upper() + label[1:]


def shown(item: OwnershipDecision, name: str) -> str:
    """A field of a decision in words."""
    display = getattr(item, f"get_{name}_display", None)
    return str(display() if display else getattr(item, name))


def as_csv() -> str:
    """The matrix for a spreadsheet; a cell that a spreadsheet would take for a formula is quoted."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([*(label_of(name) for name in FIELDS), "missing"])
    for item in OwnershipDecision.objects.order_by("purpose", "program"):
        writer.writerow([*(_cell(shown(item, name)) for name in FIELDS), _cell(", ".join(item.missing))])
    return out.getvalue()


def _cell(value: str) -> str:
    return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
