"""The release of bundles as a plan: looked at first, applied only as it was looked at (`inventory.services.plans`)."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from inventory.actors import Actor
from inventory.errors import InvalidInputError
from inventory.models import Cohort, ManagedIdentity, Plan
from inventory.services.plans import Field, PlanCounts, Verdict, excluded, included
from trustanchors.models import TrustAnchorBundle
from trustanchors.services import releasing
from trustanchors.services.judging import Judge, Tally, check_bundles
from trustanchors.services.releasing import RELEASE, Pace

CANARY = timedelta(minutes=10)
"""What a canary takes, its restart included; the families' canaries go side by side."""
_NUMBERS = ("threshold_percent", "concurrency", "rate_per_minute", "failure_limit")
_HOURS = {"deadline_hours": "deadline", "check_interval_hours": "check_interval"}
_DEFAULT = Pace()


class BundleRelease:
    """Release bundles, one of each purpose, to a cohort."""

    key = "bundle_release"
    label = "Release of trust anchors"
    permission = RELEASE
    fields: Sequence[Field] = (
        Field("bundles", "Bundles", "Ids of bundles, one of each purpose.", required=True, many=True),
        Field("cohort", "Cohort", "The name of a cohort.", required=True),
        *(Field(name, name.replace("_", " ").capitalize(), default=str(getattr(_DEFAULT, name))) for name in _NUMBERS),
        *(
            Field(name, name.replace("_", " ").capitalize(), default=f"{getattr(_DEFAULT, of) / timedelta(hours=1):g}")
            for name, of in _HOURS.items()
        ),
    )
    words: Mapping[str, str] = {
        "install": "install anchor",
        "list": "ask what is installed",
        "not_a_charger": "not a charger",
        "disabled": "disabled",
        "not_supported": "cannot install anchors",
        "not_covered": "would be without a way in",
        "nothing_to_send": "takes none of these anchors",
        "store_too_small": "store too small",
        "would_be_lost": "would be lost by another root",
    }

    def validate(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        known = {field.name for field in self.fields}
        if unknown := sorted(set(parameters) - known):
            raise InvalidInputError(f"{unknown[0]!r} is no parameter of a release; use {', '.join(sorted(known))}.")
        given = parameters.get("bundles") or []
        texts = [str(one) for one in (given if isinstance(given, list | tuple) else [given])]
        if not all(text.isdecimal() and len(text) < 19 for text in texts):
            raise InvalidInputError("Name bundles by their ids, as “bundles=4”.")
        name = str(parameters.get("cohort", ""))
        if not Cohort.objects.filter(name=name).exists():
            raise InvalidInputError(f"There is no cohort {name!r}; name one.")
        numbers = {key: _number(parameters, key, getattr(_DEFAULT, key)) for key in _NUMBERS}
        hours = {
            key: _number(parameters, key, int(getattr(_DEFAULT, of) / timedelta(hours=1))) for key, of in _HOURS.items()
        }
        checked: dict[str, Any] = {"bundles": sorted({int(text) for text in texts}), "cohort": name, **numbers, **hours}
        _pace(checked).check()
        missing = set(checked["bundles"]) - {bundle.pk for bundle in _bundles(checked)}
        if missing:
            raise InvalidInputError(f"There is no bundle with the id {min(missing)}.")
        return checked

    def candidates(self, parameters: Mapping[str, Any]) -> "QuerySet[ManagedIdentity]":
        return _cohort(parameters).identities()

    def judge(
        self, parameters: Mapping[str, Any], identities: Sequence[ManagedIdentity], now: datetime
    ) -> Sequence[Verdict]:
        bundles = _bundles(parameters)
        check_bundles(bundles, now)
        return [
            excluded(judgement.code, judgement.reason) if judgement.code else included(*judgement.steps)
            for judgement in Judge(bundles).judge(identities)
        ]

    def duration(self, plan: Plan, counts: PlanCounts, now: datetime) -> timedelta:
        return CANARY + timedelta(minutes=counts.included / int(plan.parameters["rate_per_minute"]))

    def apply(self, plan: Plan, actor: Actor, reason: str, now: datetime) -> None:
        tally = Tally(able=plan.included)
        tally.codes.update(plan.excluded)
        for code in plan.excluded:
            example = plan.targets.filter(reason_code=code).order_by("position").first()
            tally.examples[code] = example.reason if example else ""
        cohort, bundles, pace = _cohort(plan.parameters), _bundles(plan.parameters), _pace(plan.parameters)
        check_bundles(bundles, now)
        releasing.check_tally(tally, cohort, pace)
        releasing.start(bundles=bundles, cohort=cohort, pace=pace, actor=actor, reason=reason, now=now)


def _number(parameters: Mapping[str, Any], name: str, default: int) -> int:
    text = str(parameters.get(name) or default).strip()
    if not text.isdecimal() or len(text) > 6:
        raise InvalidInputError(f"{name.replace('_', ' ').capitalize()} must be a whole number, not {text[:40]!r}.")
    return int(text)


def _pace(parameters: Mapping[str, Any]) -> Pace:
    values: dict[str, Any] = {name: parameters[name] for name in _NUMBERS}
    values |= {of: timedelta(hours=parameters[key]) for key, of in _HOURS.items()}
    return Pace(**values)


def _cohort(parameters: Mapping[str, Any]) -> Cohort:
    return Cohort.objects.get(name=parameters["cohort"])


def _bundles(parameters: Mapping[str, Any]) -> list[TrustAnchorBundle]:
    return list(TrustAnchorBundle.objects.filter(pk__in=parameters["bundles"]).order_by("pk"))
