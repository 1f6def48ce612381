"""What each charger family can do: declared by people, observed on the wire, and unknown where neither was.

Unknown is not capable. Evidence beats a declaration, evidence against a capability beats evidence for it, and only a
person declares it anew. But what one station alone says that it cannot is a doubt: it counts for this station, and for
its family once a second one says the same, so that one station cannot stop all others of its family.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.db.models import F

from inventory.actors import Actor
from inventory.choices import (
    MANDATORY_FOR_PROFILE_3,
    Capability,
    CapabilityBasis,
    KeyPath,
    SecurityCategory,
    SecuritySource,
    Severity,
)
from inventory.errors import InvalidInputError
from inventory.models import CapabilityDoubt, ChargerFamily, FamilyCapability, ManagedIdentity
from inventory.services.actions import AvailableAction
from inventory.services.command import command
from inventory.services.security_events import record_security_event

STATIONS_THAT_DENY = 2
"""So many have to say that they cannot, before their family is taken for incapable; of a family of one, that one."""
_LONGEST_SOURCE = 300
_LONGEST_NOTE = 500


@dataclass(frozen=True, slots=True)
class CapabilityState:
    """What is known of one capability of a family."""

    capability: Capability
    supported: bool | None = None
    """None: unknown, which is not capable."""
    basis: str = ""
    source: str = ""
    as_of: datetime | None = None
    note: str = ""
    mandatory: bool = False
    stands_in: str = ""
    """What takes its place for Profile 3 where the family has it not: an approved key path, for a second key slot."""

    doubts: tuple[str, ...] = ()
    """What single stations have shown against it, which counts for them alone."""

    @property
    def word(self) -> str:
        """`yes`, `no` or `unknown`."""
        return {True: "yes", False: "no", None: "unknown"}[self.supported]


def state_of(family: ChargerFamily) -> dict[Capability, CapabilityState]:
    """Every capability of a family, known or not, in two queries."""
    known = {row.capability: row for row in FamilyCapability.objects.filter(family=family)}
    doubts: dict[str, list[str]] = {}
    for doubt in CapabilityDoubt.objects.filter(family=family):
        doubts.setdefault(doubt.capability, []).append(f"{doubt.source} on {doubt.since:%Y-%m-%d}")
    return {
        capability: _state(family, capability, known.get(capability), doubts.get(capability, ()))
        for capability in Capability
    }


def _state(
    family: ChargerFamily, capability: Capability, row: FamilyCapability | None, doubts: Sequence[str] = ()
) -> CapabilityState:
    mandatory, stands_in = capability in MANDATORY_FOR_PROFILE_3, _stands_in(family, capability)
    if row is None:
        return CapabilityState(capability, mandatory=mandatory, stands_in=stands_in)
    return CapabilityState(
        capability, row.supported, row.basis, row.source, row.as_of, row.note, mandatory, stands_in, tuple(doubts)
    )


def _stands_in(family: ChargerFamily, capability: Capability) -> str:
    """The appendix asks for a second key slot or an approved key path: the one rule for both."""
    if capability != Capability.DUAL_KEY_SLOTS or family.key_path == KeyPath.UNAPPROVED:
        return ""
    return f"its approved key path, “{family.get_key_path_display()}”"


def missing_for_profile_3(family: ChargerFamily) -> list[Capability]:
    """The mandatory capabilities that the family is not known to have.

    An approved key path stands in for the second key slot: the appendix asks for one or the other.
    """
    return missing_of([family])[family.pk]


def missing_of(families: Sequence[ChargerFamily]) -> dict[int, list[Capability]]:
    """As `missing_for_profile_3`, of many families in one query."""
    known = FamilyCapability.objects.filter(family__in=families, supported=True).values_list("family_id", "capability")
    has = set(known) if families else set()
    return {
        family.pk: [
            capability
            for capability in MANDATORY_FOR_PROFILE_3
            if (family.pk, capability.value) not in has and not _stands_in(family, capability)
        ]
        for family in families
    }


def doubted_of(identities: Sequence[ManagedIdentity]) -> dict[int, list[Capability]]:
    """What each of these stations has shown that it cannot, although its family is taken for capable of it."""
    found: dict[int, list[Capability]] = {}
    mandatory = [capability.value for capability in MANDATORY_FOR_PROFILE_3]
    doubts = CapabilityDoubt.objects.filter(identity__in=identities, capability__in=mandatory)
    for doubt in doubts.filter(family_id=F("identity__family_id")):
        found.setdefault(doubt.identity_id, []).append(Capability(doubt.capability))
    return found


def declare(
    *,
    family: ChargerFamily,
    capability: str,
    supported: bool | None,
    source: str,
    actor: Actor,
    reason: str,
    now: datetime,
) -> CapabilityState:
    """Say that a family can or cannot do something; None takes back what was known.

    :param source: who says so: a data sheet, a vendor's letter, a test.
    :raises NotPermittedError: without `change_chargerfamily`.
    :raises InvalidInputError: without a source or a reason, or for a capability that there is not.
    """
    known = named(capability)
    if supported is not None and not source.strip():
        raise InvalidInputError("A source is needed: name the data sheet, the letter or the test that says so.")
    with command(actor, "change_chargerfamily", reason):
        locked = _locked(family, known)
        CapabilityDoubt.objects.filter(family=family, capability=known).delete()
        if supported is None:
            if locked is not None:
                locked.delete()
            return _state(family, known, None)
        row = locked or FamilyCapability(family=family, capability=known)
        overruled = locked is not None and locked.basis == CapabilityBasis.OBSERVED and locked.supported != supported
        row.note = f"Overrules what was observed: {row.source}"[:_LONGEST_NOTE] if overruled else ""
        row.supported, row.basis, row.as_of = supported, CapabilityBasis.DECLARED, now
        row.source = source.strip()[:_LONGEST_SOURCE]
        row.save()
    return _state(family, known, row)


FamilyActions = Callable[[ChargerFamily, Actor], list[AvailableAction]]

_of_floors_above: list[FamilyActions] = []


def add_family_actions(provider: FamilyActions) -> None:
    """Offer the verbs that an app above has for families, after our own."""
    if provider not in _of_floors_above:
        _of_floors_above.append(provider)


def actions_for_family(family: ChargerFamily, actor: Actor) -> list[AvailableAction]:
    """The verbs of a family, and whether this operator may use them."""
    why_not = "" if actor.may("change_chargerfamily") else "You lack the permission “change_chargerfamily”."
    meaning = "What is declared counts until a station shows otherwise; readiness for Profile 3 follows it at once."
    more = [action for provider in _of_floors_above for action in provider(family, actor)]
    return [AvailableAction("declare", "Declare a capability", not why_not, why_not, meaning), *more]


def named(capability: str) -> Capability:
    """The capability with this key.

    :raises InvalidInputError: when there is none.
    """
    if capability not in Capability.values:
        raise InvalidInputError(f"{capability!r} is no capability; use one of {', '.join(Capability.values)}.")
    return Capability(capability)


def observe(
    family: ChargerFamily,
    capability: Capability,
    supported: bool,
    source: str,
    now: datetime,
    *,
    identity: ManagedIdentity | None = None,
    weak: bool = False,
) -> bool:
    """Take in evidence for or against a capability, under the current attribution.

    :param weak: evidence that tells against a declaration, and not against what was seen before.
    :returns: whether anything changed by it.
    """
    with transaction.atomic():
        row = _locked(family, capability)
        if not _changes(row, supported, weak):
            return False
        before = row
        row = row or FamilyCapability(family=family, capability=capability)
        contradicted = before is not None and before.supported != supported
        note = f"Contradicts what was {before.get_basis_display().lower()}: {before.source}" if before else ""
        row.note = note[:_LONGEST_NOTE] if contradicted else ""
        row.supported, row.basis, row.as_of = supported, CapabilityBasis.OBSERVED, now
        row.source = source[:_LONGEST_SOURCE]
        row.save()
        if contradicted and not supported:
            _report_downgrade(family, capability, row, identity, now)
    return True


def shown_by(
    identity: ManagedIdentity, family: ChargerFamily, capability: Capability, can: bool, source: str, now: datetime
) -> None:
    """Take in what one station shows on the wire, under the current attribution."""
    own = CapabilityDoubt.objects.filter(identity=identity, family=family, capability=capability)
    with transaction.atomic():
        row = _locked(family, capability)
        if can:
            own.delete()
        elif row is not None and row.supported and not _is_denied_by_enough(identity, family, capability, source, now):
            return
        observe(family, capability, can, source, now, identity=identity)


def _is_denied_by_enough(
    identity: ManagedIdentity, family: ChargerFamily, capability: Capability, source: str, now: datetime
) -> bool:
    """Keep what a station denies; the family's row is locked.

    :returns: whether so many have denied it that it is true of the family; what was kept is over then.
    """
    doubt, new = CapabilityDoubt.objects.get_or_create(
        identity=identity,
        family=family,
        capability=capability,
        defaults={"source": source[:_LONGEST_SOURCE], "since": now},
    )
    doubts = CapabilityDoubt.objects.filter(family=family, capability=capability)
    stations = ManagedIdentity.objects.filter(family=family, enabled=True).order_by().values_list("pk", flat=True)
    needed = min(STATIONS_THAT_DENY, max(1, len(stations[:STATIONS_THAT_DENY])))
    if len(doubts.values_list("pk", flat=True)[:needed]) >= needed:
        doubts.delete()
        return True
    if new:
        record_security_event(
            "CapabilityDoubted",
            category=SecurityCategory.PLATFORM,
            severity=Severity.WARNING,
            source=SecuritySource.CONTROL_PLANE,
            message=(
                f"{doubt.source}. That counts for this station alone, until another one of the family “{family}” says "
                f"the same of {capability.label}: look at the station, or declare the capability anew."
            ),
            now=now,
            identity=identity,
            payload={"family": family.name, "capability": capability.value},
        )
    return False


def news_in(family: ChargerFamily, found: Mapping[Capability, bool], identity: ManagedIdentity) -> list[Capability]:
    """Of what a station has shown, what would change by what is known now; one query, and no lock."""
    # Asked with almost every message that is stored of a charger.
    with connection.cursor() as cursor:
        cursor.execute(_KNOWN, [identity.pk, family.pk, [capability.value for capability in found]])
        known = {capability: (_Cell(*cell), doubted) for capability, *cell, doubted in cursor.fetchall()}
    news = []
    for capability, can in found.items():
        cell, doubted = known.get(capability.value, (None, False))
        if cell is None or _changes(cell, can, False) or (can and doubted):
            news.append(capability)
    return news


_KNOWN = """
SELECT c.capability, c.supported, c.basis, EXISTS (
    SELECT FROM inventory_capabilitydoubt d
    WHERE d.identity_id = %s AND d.family_id = c.family_id AND d.capability = c.capability)
FROM inventory_familycapability c WHERE c.family_id = %s AND c.capability = ANY(%s)
"""


@dataclass(frozen=True, slots=True)
class _Cell:
    """What is known of a capability of a family, as far as evidence can change it."""

    supported: bool
    basis: str


def _changes(row: FamilyCapability | _Cell | None, supported: bool, weak: bool) -> bool:
    """Whether evidence tells anything new: it takes the place of declarations, and of evidence only against it."""
    if row is None:
        return not weak
    declared = row.basis == CapabilityBasis.DECLARED
    if supported:
        return declared
    if weak:
        return declared and row.supported
    return declared or row.supported


def _report_downgrade(
    family: ChargerFamily,
    capability: Capability,
    row: FamilyCapability,
    identity: ManagedIdentity | None,
    now: datetime,
) -> None:
    record_security_event(
        "CapabilityContradicted",
        category=SecurityCategory.PLATFORM,
        severity=Severity.WARNING,
        source=SecuritySource.CONTROL_PLANE,
        message=(
            f"The family “{family}” is no longer taken as capable of {capability.label}: {row.source}. {row.note}. "
            "Declare the capability anew when this is settled."
        ),
        now=now,
        identity=identity,
        payload={"family": family.name, "capability": capability.value},
    )


def _locked(family: ChargerFamily, capability: Capability) -> FamilyCapability | None:
    """The cell, locked; the family's row is locked first, so that two who make the same cell come one by one."""
    ChargerFamily.objects.select_for_update(of=("self",)).only("pk").get(pk=family.pk)
    return FamilyCapability.objects.filter(family=family, capability=capability).first()
