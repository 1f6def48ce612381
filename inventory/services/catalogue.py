"""Keeping families, cohorts, policies, caps and upstreams: what people edit directly, always with a reason."""

from collections.abc import Iterable
from typing import TypeVar

from django.db import transaction

from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import CohortKind
from inventory.errors import InvalidInputError
from inventory.models import ChargerFamily, Cohort, LifecyclePolicy, ManagedIdentity, SitePolicy, Upstream
from inventory.services.actions import AvailableAction

Entry = TypeVar("Entry", ChargerFamily, Cohort, LifecyclePolicy, SitePolicy, Upstream)

_NAMED_IN_REASON = 20


def save(*, entry: Entry, actor: Actor, reason: str) -> Entry:
    """Store a new or changed entry.

    :raises NotPermittedError: without `add_…` or `change_…` of its model.
    :raises InvalidInputError: without a reason.
    :raises django.core.exceptions.ValidationError: when a value, or several together, cannot be.
    """
    verb = "add" if entry._state.adding else "change"
    actor.require(f"{verb}_{entry._meta.model_name}")
    with transaction.atomic(), attributed(actor, _needed(reason)):
        entry.full_clean()
        entry.save()
    return entry


def add_members(*, cohort: Cohort, identifiers: Iterable[str], actor: Actor, reason: str) -> int:
    """Put identities into a static cohort, named by their authoritative identifiers.

    :returns: how many identities were named.
    :raises InvalidInputError: for a filter cohort, or naming the identifiers that nobody has.
    """
    members = _members(cohort, identifiers, actor)
    with transaction.atomic(), attributed(actor, _told(reason, "added", members)):
        cohort.members.add(*members)
        cohort.save()
    return len(members)


def remove_members(*, cohort: Cohort, identifiers: Iterable[str], actor: Actor, reason: str) -> int:
    """Take identities out of a static cohort.

    :returns: how many identities were named.
    :raises InvalidInputError: for a filter cohort, or naming the identifiers that nobody has.
    """
    members = _members(cohort, identifiers, actor)
    with transaction.atomic(), attributed(actor, _told(reason, "removed", members)):
        cohort.members.remove(*members)
        cohort.save()
    return len(members)


def actions_for_cohort(cohort: Cohort, actor: Actor) -> list[AvailableAction]:
    """The verbs of a cohort, and whether this operator may use them now."""
    why_not = "" if cohort.kind == CohortKind.STATIC else "A filter cohort has whatever matches its filter."
    if not why_not and not actor.may("change_cohort"):
        why_not = "You lack the permission “change_cohort”."
    changes = "Policies of this cohort apply to its members from the next decision on."
    return [
        AvailableAction("add_members", "Add members", not why_not, why_not, changes),
        AvailableAction("remove_members", "Remove members", not why_not, why_not, changes),
    ]


def _members(cohort: Cohort, identifiers: Iterable[str], actor: Actor) -> list[ManagedIdentity]:
    actor.require("change_cohort")
    if cohort.kind != CohortKind.STATIC:
        raise InvalidInputError(
            f"{cohort.name} is a filter cohort: its members are whatever matches. Change its filter instead."
        )
    wanted = list(dict.fromkeys(text for item in identifiers if (text := item.strip())))
    if not wanted:
        raise InvalidInputError("Name at least one identity by its identifier.")
    found = list(ManagedIdentity.objects.filter(authoritative_identifier__in=wanted))
    known = {identity.authoritative_identifier for identity in found}
    if missing := [item for item in wanted if item not in known]:
        shown = ", ".join(missing[:_NAMED_IN_REASON])
        raise InvalidInputError(f"There is no identity with the identifier {shown}. Correct it and try again.")
    return found


def _told(reason: str, what: str, members: list[ManagedIdentity]) -> str:
    names = ", ".join(identity.authoritative_identifier for identity in members[:_NAMED_IN_REASON])
    more = len(members) - _NAMED_IN_REASON
    return f"{_needed(reason)} ({what} {names}{f' and {more} more' if more > 0 else ''})"


def _needed(reason: str) -> str:
    if not reason.strip():
        raise InvalidInputError("A reason is needed: say why, for the audit trail.")
    return reason.strip()
