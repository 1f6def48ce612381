"""The companies in the pools: a node is opened by whoever confirms whose identifiers it has, and in no other way."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from django.utils import timezone

from inventory.actors import Actor
from inventory.errors import InvalidInputError, TransitionRefusedError
from inventory.services.command import command
from provisioning.models import PoolCredential, PoolIdentifier, PoolNode, PoolWebhook
from provisioning.pools.choices import IDENTIFIED_BY, IdentifierKind, PoolRole

_FORMS: Final[dict[str, tuple[re.Pattern[str], str]]] = {
    IdentifierKind.PROVIDER: (
        re.compile(r"[A-Z]{2}[A-Z0-9]{3}", re.ASCII),
        "two letters of the country and three characters, as DE8AA",
    ),
    IdentifierKind.OPERATOR: (
        re.compile(r"[A-Z]{2}[A-Z0-9]{3}", re.ASCII),
        "two letters of the country and three characters, as DEICE",
    ),
    IdentifierKind.WMI: (re.compile(r"[A-HJ-NPR-Z0-9]{3}", re.ASCII), "three letters or digits, as WVW"),
}
MOST_IDENTIFIERS: Final = 100


def open_node(
    *,
    name: str,
    role: str,
    identifiers: Sequence[str],
    issuing_authority: str,
    actor: Actor,
    reason: str,
    requests_per_second: float = 20.0,
    now: datetime | None = None,
) -> PoolNode:
    """Open a company's node: says that whoever gives out such identifiers has confirmed that these are its.

    :param identifiers: provider ids, WMIs or operator ids, as the role has them; none for a role that acts for others.
    :raises InvalidInputError: for an identifier that is none, or that another node has.
    """
    now = now or timezone.now()
    with command(actor, "provisioning.confirm_poolnode", reason):
        if role not in PoolRole.values:
            raise InvalidInputError(f"{role!r} is no role; use one of {', '.join(PoolRole.values)}.")
        if not 0 < len(name.strip()) <= 120:
            raise InvalidInputError("A node needs a name of at most 120 characters: the company's.")
        if requests_per_second <= 0:
            raise InvalidInputError("A node needs a rate above 0 requests a second; close it to let it ask nothing.")
        if PoolNode.objects.filter(name=name.strip(), role=role, closed_at__isnull=True).exists():
            raise InvalidInputError(f"{name.strip()} has a node in this role already; confirm more identifiers there.")
        kind = IDENTIFIED_BY.get(role)
        if kind is None and identifiers:
            raise InvalidInputError(f"A {PoolRole(role).label.lower()} has no identifiers of its own; leave them out.")
        if kind is not None and not identifiers:
            raise InvalidInputError(
                f"A {PoolRole(role).label.lower()} has a node only with a {IdentifierKind(kind).label.lower()} that "
                "is confirmed; name at least one."
            )
        node = PoolNode(name=name.strip(), role=role, opened_at=now, requests_per_second=requests_per_second)
        node.save()
        for value in identifiers:
            _confirm(node, value, issuing_authority, actor, reason, now)
    return node


def confirm_identifier(
    *, node: PoolNode, value: str, issuing_authority: str, actor: Actor, reason: str, now: datetime | None = None
) -> PoolIdentifier:
    """Say that a further identifier is this company's, as whoever gives them out has confirmed."""
    with command(actor, "provisioning.confirm_poolnode", reason):
        return _confirm(locked(node), value, issuing_authority, actor, reason, now or timezone.now())


def end_identifier(
    *, node: PoolNode, value: str, actor: Actor, reason: str, now: datetime | None = None
) -> PoolIdentifier:
    """Take an identifier from a company: from now on it publishes and reads nothing under it."""
    with command(actor, "provisioning.close_poolnode", reason):
        current = locked(node)
        found = current.identifiers.filter(value=value.strip().upper(), ended_at__isnull=True).first()
        if found is None:
            raise InvalidInputError(f"{current.name} has no identifier {value.strip()[:20]!r}; look at its node.")
        found.ended_at = now or timezone.now()
        found.save()
    return found


def close_node(*, node: PoolNode, actor: Actor, reason: str, now: datetime | None = None) -> PoolNode:
    """Close a node: its credentials and webhooks end, and the next cleansing takes what it has in the pools."""
    now = now or timezone.now()
    with command(actor, "provisioning.close_poolnode", reason):
        current = locked(node)
        for credential in PoolCredential.objects.filter(node=current, revoked_at__isnull=True):
            credential.revoked_at = now
            credential.save()
        for webhook in PoolWebhook.objects.filter(node=current, removed_at__isnull=True):
            webhook.removed_at = now
            webhook.save()
        for identifier in current.identifiers.filter(ended_at__isnull=True):
            identifier.ended_at = now
            identifier.save()
        current.closed_at = now
        current.save()
    return current


def locked(node: PoolNode) -> PoolNode:
    """An open node, locked until the end of the transaction.

    :raises TransitionRefusedError: for one that is closed.
    """
    current = PoolNode.objects.select_for_update().get(pk=node.pk)
    if current.closed_at is not None:
        raise TransitionRefusedError(f"The node of {current.name} is closed; open a new one for it.")
    return current


def owner(kind: IdentifierKind, value: str) -> PoolNode | None:
    """The open node that has an identifier, or None."""
    found = PoolIdentifier.objects.filter(kind=kind, value=value, ended_at__isnull=True).select_related("node").first()
    return found.node if found is not None else None


def _confirm(
    node: PoolNode, value: str, issuing_authority: str, actor: Actor, reason: str, now: datetime
) -> PoolIdentifier:
    kind = IDENTIFIED_BY.get(node.role)
    if kind is None:
        raise InvalidInputError(f"A {node.get_role_display().lower()} has no identifiers of its own.")
    if not 0 < len(issuing_authority.strip()) <= 200:
        raise InvalidInputError("Say who gives out such identifiers and confirmed this one, in at most 200 characters.")
    pattern, example = _FORMS[kind]
    wanted = value.strip().upper().replace("-", "").replace("*", "")
    if not pattern.fullmatch(wanted):
        raise InvalidInputError(f"{value.strip()[:20]!r} is no {IdentifierKind(kind).label}: it has {example}.")
    has = owner(IdentifierKind(kind), wanted)
    if has is not None:
        raise InvalidInputError(f"{IdentifierKind(kind).label} {wanted} is {has.name}'s already; end it there first.")
    if node.identifiers.filter(ended_at__isnull=True).count() >= MOST_IDENTIFIERS:
        raise InvalidInputError(f"A node has {MOST_IDENTIFIERS} identifiers at most.")
    found = PoolIdentifier(
        node=node,
        kind=kind,
        value=wanted,
        issuing_authority=issuing_authority.strip(),
        confirmed_at=now,
        confirmed_by=actor.name,
        reason=reason.strip(),
    )
    found.save()
    return found
