"""The bulk actions of the certificate lifecycle: renew many, revoke many."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from functools import partial
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from inventory.actors import Actor
from inventory.choices import (
    ISSUING_ACTIONS,
    REVOCABLE_STATES,
    OperatingMode,
    RecordState,
    RevocationReason,
    SubjectKind,
    TargetOutcome,
)
from inventory.errors import InvalidInputError
from inventory.models import CertificateJob, CertificateRecord, ManagedIdentity, Plan, PlanTarget
from inventory.purposes import CHARGER_IDENTITY, purpose, purposes
from inventory.services import lifecycle, lockouts
from inventory.services.plans import expecting, running, selection
from inventory.services.plans.comparing import departure_of, departures_of, verdicts_now
from inventory.services.plans.expecting import Expected, at_rate
from inventory.services.plans.kinds import Field, PlanCounts, Started, Verdict, excluded, included
from inventory.services.plans.selection import gather

PER_MINUTE = 300
"""Renewals started in a minute where nothing else is said: a quarter of what the CA's default quota allows."""
AWAY = timedelta(minutes=1)
"""How long a charger is assumed to be away to come back with a renewed certificate."""
_PURPOSE = Field(
    "purpose",
    "Purpose",
    default=CHARGER_IDENTITY.key,
    choices=[(item.key, item.label) for item in purposes() if item.default_mode == OperatingMode.MANAGED],
)
_EXCLUSIONS = {
    "disabled": "disabled",
    "not_ours": "not managed by us",
    "no_certificate": "no certificate",
}


def _purpose_key(parameters: Mapping[str, Any]) -> str:
    key = selection.text(parameters, "purpose", CHARGER_IDENTITY.key)
    return purpose(key).key


def _of_purpose(parameters: Mapping[str, Any]) -> QuerySet[ManagedIdentity]:
    kinds = purpose(parameters["purpose"]).subject_kinds
    return selection.identities(parameters).filter(kind__in=kinds)


class BulkRenewal:
    """Start the renewal of the active certificates of many, at a rate."""

    key = "bulk_renewal"
    label = "Renewal of many certificates"
    permission = "renew_certificaterecord"
    fields: Sequence[Field] = (
        *selection.FIELDS,
        _PURPOSE,
        Field("slot", "Slot", "For purposes that have slots: which one."),
        Field("expires_before", "Only what expires before", "A date, YYYY-MM-DD; empty: all."),
        Field("per_minute", "Starts in a minute", default=str(PER_MINUTE)),
    )
    words: Mapping[str, str] = {
        **_EXCLUSIONS,
        "renew": "renew certificate",
        "no_active_certificate": "no active certificate",
        "under_way": "a renewal is under way",
        "expires_later": "expires later",
    }

    def validate(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wrong: dict[str, str] = {}
        known = ("purpose", "slot", "expires_before", "per_minute")
        gather(wrong, partial(selection.refuse_unknown, parameters, *known))
        chosen = gather(wrong, partial(selection.validate, parameters)) or {}
        key = gather(wrong, partial(_purpose_key, parameters))
        slot = gather(wrong, partial(selection.text, parameters, "slot")) or ""
        if key is not None:
            gather(wrong, partial(purpose(key).check_slot, slot))
        before = gather(wrong, partial(selection.text, parameters, "expires_before"))
        starts = gather(wrong, partial(selection.number, parameters, "per_minute", PER_MINUTE, 1, 100_000))
        day = gather(wrong, partial(_date, before)) if before else None
        selection.refuse(wrong)
        checked = {**chosen, "purpose": key, "per_minute": starts}
        if slot:
            checked["slot"] = slot
        if day:
            checked["expires_before"] = day.isoformat()
        return checked

    def candidates(self, parameters: Mapping[str, Any]) -> QuerySet[ManagedIdentity]:
        return _of_purpose(parameters)

    def judge(
        self, parameters: Mapping[str, Any], identities: Sequence[ManagedIdentity], now: datetime
    ) -> list[Verdict]:
        wanted, slot = parameters["purpose"], parameters.get("slot", "")
        active = {
            record.identity_id: record
            for record in CertificateRecord.objects.filter(
                identity__in=identities, purpose=wanted, slot=slot, state=RecordState.ACTIVE
            ).only("identity_id", "mode", "not_after", "state")
        }
        busy = set(
            CertificateJob.objects.open()
            .filter(identity__in=identities, purpose=wanted, slot=slot, action__in=ISSUING_ACTIONS)
            .values_list("identity_id", flat=True)
        )
        return [
            self._verdict(parameters, identity, active.get(identity.pk), identity.pk in busy) for identity in identities
        ]

    def _verdict(
        self, parameters: Mapping[str, Any], identity: ManagedIdentity, record: CertificateRecord | None, busy: bool
    ) -> Verdict:
        who = identity.authoritative_identifier
        if not identity.enabled:
            return excluded("disabled", f"{who} is disabled.")
        if record is None:
            return excluded("no_active_certificate", f"{who} has no active certificate to renew; issue one instead.")
        mode = identity.mode_for(purpose(parameters["purpose"]))
        if record.mode != OperatingMode.MANAGED or mode != OperatingMode.MANAGED:
            return excluded("not_ours", f"Certificate {record.pk} of {who} is not ours to renew.")
        if busy:
            return excluded("under_way", f"{who} is getting a new certificate already.")
        before = parameters.get("expires_before")
        if before and record.not_after is not None and record.not_after >= _start_of(before):
            return excluded("expires_later", f"Certificate {record.pk} of {who} expires on or after {before}.")
        return included(f"renew:{record.pk}")

    def expected(self, plan: Plan, counts: PlanCounts, now: datetime) -> Expected:
        starts, issued = plan.parameters["per_minute"], settings.CONFIGURATION.aws_issue_per_second
        bounds = [
            at_rate(counts.included, starts / 60, f"their starts, {starts:,} a minute"),
            at_rate(counts.included, issued, f"the CA, which issues {issued:g} a second"),
        ]
        if not purpose(plan.parameters["purpose"]).delivered_over_ocpp:
            return expecting.expected(bounds, "")
        key = plan.parameters["purpose"]
        seen = expecting.absences("renewal", expecting.at_most_by_policy(key, AWAY), now)
        away = seen.typical(expecting.families_of(plan))
        one = expecting.for_one(away, seen, "from the delivery of its certificate until it is back with it")
        return expecting.expected([*bounds, expecting.of_sites(plan, away)], one)

    def apply(self, plan: Plan, actor: Actor, reason: str, now: datetime) -> None:
        running.begin(plan)

    def per_minute(self, parameters: Mapping[str, Any]) -> float | None:
        return float(parameters["per_minute"])

    def departures(self, plan: Plan, targets: Sequence[PlanTarget], now: datetime) -> list[str]:
        return departures_of(self, plan, targets, now)

    def start(self, plan: Plan, target: PlanTarget, actor: Actor, now: datetime) -> Started:
        (record,) = _records(target)
        job = lifecycle.renew(record=record, actor=actor, reason=plan.applied_reason, now=now)
        return Started(TargetOutcome.STARTED, f"Job {job.pk} renews certificate {record.pk}.", job)


class BulkRevocation:
    """Revoke every certificate of many for a purpose: our doors refuse them as fast as rows can be written.

    Many chargers share a transaction. The CA is told by a job for each certificate, at its own rate.
    """

    key = "bulk_revocation"
    label = "Revocation of many certificates"
    permission = "revoke_certificaterecord"
    fields: Sequence[Field] = (
        *selection.FIELDS,
        _PURPOSE,
        Field(
            "revocation_reason",
            "Reason in the revocation list",
            default=RevocationReason.UNSPECIFIED,
            choices=RevocationReason.choices,
        ),
    )
    words: Mapping[str, str] = {
        **_EXCLUSIONS,
        "revoke": "revoke certificate",
        "locks_out": "is locked out",
    }

    def validate(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wrong: dict[str, str] = {}
        gather(wrong, partial(selection.refuse_unknown, parameters, "purpose", "revocation_reason"))
        chosen = gather(wrong, partial(selection.validate, parameters)) or {}
        key = gather(wrong, partial(_purpose_key, parameters))
        why = gather(wrong, partial(_revocation_reason, parameters))
        selection.refuse(wrong)
        return {**chosen, "purpose": key, "revocation_reason": why}

    def candidates(self, parameters: Mapping[str, Any]) -> QuerySet[ManagedIdentity]:
        return _of_purpose(parameters)

    def judge(
        self, parameters: Mapping[str, Any], identities: Sequence[ManagedIdentity], now: datetime
    ) -> list[Verdict]:
        ours: dict[int, list[int]] = {}
        others: set[int] = set()
        found = CertificateRecord.objects.filter(
            identity__in=identities, purpose=parameters["purpose"], state__in=REVOCABLE_STATES
        )
        for record_id, identity_id, mode in found.order_by("pk").values_list("pk", "identity_id", "mode"):
            if mode == OperatingMode.MANAGED:
                ours.setdefault(identity_id, []).append(record_id)
            else:
                others.add(identity_id)
        return [self._verdict(parameters, identity, ours.get(identity.pk, []), others, now) for identity in identities]

    def _verdict(
        self,
        parameters: Mapping[str, Any],
        identity: ManagedIdentity,
        records: Sequence[int],
        others: set[int],
        now: datetime,
    ) -> Verdict:
        who = identity.authoritative_identifier
        if not records:
            if identity.pk in others:
                return excluded("not_ours", f"The certificates of {who} are revoked by the authority that issued them.")
            return excluded("no_certificate", f"{who} has no certificate that could be revoked.")
        locks_out = (
            parameters["purpose"] == CHARGER_IDENTITY.key
            and identity.kind == SubjectKind.CHARGER
            and lockouts.depends_on_certificate(identity, now)
        )
        return included(*(f"revoke:{record}" for record in records), *(["locks_out"] if locks_out else []))

    def expected(self, plan: Plan, counts: PlanCounts, now: datetime) -> Expected:
        revoked = settings.CONFIGURATION.aws_revoke_per_second
        told = at_rate(counts.steps.get("revoke", 0), revoked, f"the CA, which revokes {revoked:g} a second")
        return expecting.expected(
            [told], "Our own doors refuse each at once; this is until the CA has revoked the last."
        )

    def apply(self, plan: Plan, actor: Actor, reason: str, now: datetime) -> None:
        running.begin(plan)

    def per_minute(self, parameters: Mapping[str, Any]) -> float | None:
        return None

    def departures(self, plan: Plan, targets: Sequence[PlanTarget], now: datetime) -> list[str]:
        """Where only some of what was planned is left to do, that is done: nobody waits for the rest of a revocation.

        Which family a charger belongs to changes nothing about what revoking does to it.
        """
        present = verdicts_now(self, plan, targets, now)
        return [
            "" if _is_part(verdict, target) else departure_of(self, target, verdict)
            for target, verdict in zip(targets, present, strict=True)
        ]

    def start(self, plan: Plan, target: PlanTarget, actor: Actor, now: datetime) -> Started:
        (started,) = self.start_many(plan, [target], actor, now)
        return started

    def start_many(self, plan: Plan, targets: Sequence[PlanTarget], actor: Actor, now: datetime) -> list[Started]:
        named = [_named(target) for target in targets]
        revoked = lifecycle.revoke_many(
            record_ids=[record for records in named for record in records],
            actor=actor,
            reason=plan.applied_reason,
            revocation_reason=plan.parameters["revocation_reason"],
            now=now,
        )
        by_this = {record.pk for record in revoked}
        return [Started(TargetOutcome.DONE, _what_was_revoked(records, by_this)) for records in named]


def _is_part(verdict: Verdict | None, target: PlanTarget) -> bool:
    """Whether a revocation would do nothing now that the plan does not say."""
    return verdict is not None and verdict.included and set(verdict.steps) <= set(target.steps)


def _what_was_revoked(records: Sequence[int], by_this: set[int]) -> str:
    done = ", ".join(str(record) for record in records if record in by_this)
    before = ", ".join(str(record) for record in records if record not in by_this)
    return " ".join(
        [f"Revoked: {done}. The CA is told by a job for each."] * bool(done)
        + [f"Out of use before this came to it: {before}."] * bool(before)
    )


def _named(target: PlanTarget) -> list[int]:
    """The certificates that a target's steps name, by their ids."""
    return [int(step.partition(":")[2]) for step in target.steps if ":" in step]


def _records(target: PlanTarget) -> list[CertificateRecord]:
    """The certificates that a target's steps name, as they are now."""
    return list(CertificateRecord.objects.filter(pk__in=_named(target)).order_by("pk"))


def _revocation_reason(parameters: Mapping[str, Any]) -> str:
    why = selection.text(parameters, "revocation_reason", RevocationReason.UNSPECIFIED)
    if why not in RevocationReason.values:
        raise InvalidInputError(f"{why!r} is no revocation reason; use one of {', '.join(RevocationReason.values)}.")
    return str(why)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInputError(f"{text!r} is no date; write it as 2027-01-31.") from None


def _start_of(day: str) -> datetime:
    return datetime.combine(_date(day), time_of_day.min, tzinfo=UTC)
