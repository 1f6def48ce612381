"""Judging everybody, a batch at a time, and the digest of what came of it."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import datetime

from inventory.models import ManagedIdentity, Plan, PlanTarget
from inventory.services.plans.kinds import PlanKind, Verdict

BATCH = 2_000
"""Identities in memory at a time, however many there are."""

Judged = tuple[ManagedIdentity, Verdict]


def next_batch(kind: PlanKind, plan: Plan, after: int, now: datetime) -> list[Judged]:
    """The verdicts on the candidates that follow an identity, in order of their ids; shorter at the end."""
    page = kind.candidates(plan.parameters).filter(pk__gt=after).order_by("pk").select_related("family")
    identities = list(page[:BATCH])
    verdicts = kind.judge(plan.parameters, identities, now) if identities else []
    return list(zip(identities, verdicts, strict=True))


def stored_batch(plan: Plan, after: int) -> list[PlanTarget]:
    """The targets that follow an identity, in order of their identities' ids; shorter at the end."""
    return list(PlanTarget.objects.filter(plan=plan, identity_id__gt=after).order_by("identity_id")[:BATCH])


def stored(plan: Plan) -> Iterator[PlanTarget]:
    """The targets of a plan, in order of their identities' ids."""
    after = 0
    while batch := stored_batch(plan, after):
        yield from batch
        if len(batch) < BATCH:
            return
        after = batch[-1].identity_id


def line(identity_id: int, included: bool, reason_code: str, steps: Sequence[str]) -> bytes:
    """What of one target the digest covers."""
    return f"{identity_id}|{int(included)}|{reason_code}|{','.join(steps)}\n".encode()


def digest_of(plan: Plan) -> str:
    """The digest of a plan's kind, parameters and stored targets: 64 hexadecimal characters."""
    parameters = json.dumps(plan.parameters, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    digest = hashlib.sha256(f"{plan.kind}\n{parameters}\n".encode())
    for target in stored(plan):
        digest.update(line(target.identity_id, target.included, target.reason_code, target.steps))
    return digest.hexdigest()
