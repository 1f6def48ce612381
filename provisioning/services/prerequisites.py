"""How the prerequisites of a case stand: judged from facts each time, and kept with what was last found."""

from dataclasses import dataclass
from datetime import datetime

from inventory.ownership import ownership_of
from inventory.words import actor_words
from provisioning import paths
from provisioning.models import Prerequisite, ProvisioningCase


@dataclass(frozen=True, slots=True)
class Judged:
    """One prerequisite of a case, as it stands now."""

    key: str
    words: str
    met: bool
    why: str
    since: datetime | None
    """When that was found, and has not changed since; None where it is found now."""
    to_confirm: bool
    """A person confirms it."""


def judge(case: ProvisioningCase, now: datetime) -> list[Judged]:
    """Every prerequisite of a case, judged now; nothing is stored."""
    kept = {row.key: row for row in Prerequisite.objects.filter(case=case)}
    ownership = ownership_of(case.purpose_entry, case.program)
    facts = paths.Facts(case, case.identity, ownership, now)
    return [_judge(item, kept.get(item.key), facts) for item in paths.prerequisites_of(case.path, case.purpose)]


def _judge(item: paths.Prerequisite, row: Prerequisite | None, facts: paths.Facts) -> Judged:
    if item.judge is not None:
        found = item.judge(facts)
    elif row is not None and row.confirmed_at is not None:
        found = paths.Finding(True, row.why)
    else:
        found = paths.Finding(False, "Nobody has confirmed it yet.")
    same = row is not None and (row.met, row.why) == (found.met, found.why)
    since = row.judged_at if row is not None and same else None
    return Judged(item.key, item.words, found.met, found.why, since, item.confirmed_by_a_person)


def judge_and_keep(case: ProvisioningCase, now: datetime) -> list[Judged]:
    """As `judge`, of a locked case; what has changed is stored with its time, and its history."""
    judged = judge(case, now)
    kept = {row.key: row for row in Prerequisite.objects.filter(case=case)}
    for item in judged:
        if item.since is None:
            row = kept.get(item.key) or Prerequisite(case=case, key=item.key)
            row.met, row.why, row.judged_at = item.met, item.why, now
            row.save()
    return judged


def confirm(case: ProvisioningCase, key: str, by: str, reason: str, now: datetime) -> None:
    """Keep a person's confirmation with its reason; of a locked case."""
    row = Prerequisite.objects.filter(case=case, key=key).first() or Prerequisite(case=case, key=key)
    row.met, row.judged_at, row.confirmed_by, row.confirmed_at = True, now, by, now
    row.why = f"Confirmed by {actor_words(by)}: {reason}"
    row.save()


def withdraw_confirmations(case: ProvisioningCase, now: datetime) -> None:
    """What a person confirmed has to be confirmed anew after a block."""
    for row in Prerequisite.objects.filter(case=case, confirmed_at__isnull=False):
        row.met, row.judged_at, row.confirmed_by, row.confirmed_at = False, now, "", None
        row.why = "It was confirmed before the case was blocked; confirm it anew."
        row.save()


def sentence(failing: list[Judged]) -> str:
    """What is missing, in one sentence."""
    return "Not met yet: " + "; ".join(f"{item.words.lower()} ({item.why.rstrip('.')})" for item in failing) + "."
