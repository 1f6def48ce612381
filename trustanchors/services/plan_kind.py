"""The release of bundles as a plan: looked at first, applied only as it was looked at (`inventory.services.plans`)."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db.models import QuerySet

from inventory.actors import Actor
from inventory.errors import InvalidInputError, ParametersError
from inventory.models import Cohort, ManagedIdentity, Plan
from inventory.services.plans import Field, PlanCounts, Verdict, excluded, expecting, included, selection
from inventory.services.plans.expecting import Bound, Expected, Observed, at_rate, in_turns
from inventory.services.plans.selection import gather
from trustanchors.models import BundleInstallation, TrustAnchorBundle
from trustanchors.services import bundles as bundle_service
from trustanchors.services import releasing
from trustanchors.services.judging import Judge, Tally, check_bundles
from trustanchors.services.releasing import RELEASE, Pace

CANARY = timedelta(minutes=3)
"""What a canary is assumed to take, its restart included; the families' canaries go side by side."""
ANY_OTHER = timedelta(seconds=30)
"""What any other charger is assumed to take: it need not come back."""
_NUMBERS = ("threshold_percent", "concurrency", "rate_per_minute", "failure_limit")
_HOURS = {"deadline_hours": "deadline", "check_interval_hours": "check_interval"}
_DEFAULT = Pace()


WORDS: Mapping[str, str] = {
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
"""What the codes of steps and of reasons are called."""


class BundleRelease:
    """Release bundles, one of each purpose, to a cohort."""

    key = "bundle_release"
    label = "Release of trust anchors"
    permission = RELEASE
    fields: Sequence[Field] = (
        Field(
            "bundles", "Bundles", "Bundles, one of each purpose, by their numbers or names.", required=True, many=True
        ),
        Field("cohort", "Cohort", "The name of a cohort.", required=True),
        *(Field(name, name.replace("_", " ").capitalize(), default=str(getattr(_DEFAULT, name))) for name in _NUMBERS),
        *(
            Field(name, name.replace("_", " ").capitalize(), default=f"{getattr(_DEFAULT, of) / timedelta(hours=1):g}")
            for name, of in _HOURS.items()
        ),
    )
    words = WORDS

    def validate(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wrong: dict[str, str] = {}
        gather(wrong, partial(_refuse_unknown, parameters, {field.name for field in self.fields}))
        checked: dict[str, Any] = {
            "bundles": gather(wrong, partial(_bundle_ids, parameters)),
            "cohort": gather(wrong, partial(_cohort_name, parameters)),
        }
        for key in _NUMBERS:
            checked[key] = gather(wrong, partial(_number, parameters, key, getattr(_DEFAULT, key)))
        for key, of in _HOURS.items():
            default = int(getattr(_DEFAULT, of) / timedelta(hours=1))
            checked[key] = gather(wrong, partial(_number, parameters, key, default))
        if not any(checked[key] is None for key in (*_NUMBERS, *_HOURS)):
            gather(wrong, _pace(checked).check)
        selection.refuse(wrong)
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

    def expected(self, plan: Plan, counts: PlanCounts, now: datetime) -> Expected:
        families = expecting.families_of(plan)
        canary, others = _seen(now, canary=True), _seen(now, canary=False)
        first, one = canary.typical(families), others.typical(families)
        rate, at_once = plan.parameters["rate_per_minute"], plan.parameters["concurrency"]
        rest = expecting.slowest(
            (
                at_rate(counts.included, rate / 60, f"their starts, {rate:,} a minute"),
                in_turns(counts.included, at_once, one, f"the {at_once:,} that are under way at once"),
            )
        )
        return expecting.expected(
            [Bound(first + rest.taken, rest.name)],
            f"{expecting.for_one(first, canary, 'as the first of its family, until it is back')} "
            f"{expecting.for_one(one, others, 'as any other')}",
        )

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


def _seen(now: datetime, *, canary: bool) -> Observed:
    """How long chargers took lately, from the first command until what they have was confirmed."""
    done = BundleInstallation.objects.filter(
        canary=canary, round=1, started_at__isnull=False, installed_at__gt=now - expecting.LATELY
    ).order_by("-pk")
    end = "returned_at" if canary else "installed_at"
    rows = done.filter(**{f"{end}__isnull": False}).values_list("identity__family__name", "started_at", end)
    seen = [(family or "", ended - started) for family, started, ended in rows[: expecting.LOOKED_AT]]
    return expecting.observed(seen, CANARY if canary else ANY_OTHER)


def _refuse_unknown(parameters: Mapping[str, Any], known: set[str]) -> None:
    if unknown := sorted(set(parameters) - known):
        raise InvalidInputError(f"{', '.join(unknown)} is no parameter of a release; use {', '.join(sorted(known))}.")


def _bundle_ids(parameters: Mapping[str, Any]) -> list[int]:
    given = parameters.get("bundles") or []
    texts = [str(one).strip() for one in (given if isinstance(given, list | tuple) else [given])]
    if not any(texts):
        raise ParametersError({"bundles": "needs at least one bundle, by its number or its name."})
    return sorted({bundle_service.named(text).pk for text in texts})


def _cohort_name(parameters: Mapping[str, Any]) -> str:
    name = str(parameters.get("cohort", "")).strip()
    if not Cohort.objects.filter(name=name).exists():
        raise InvalidInputError(f"There is no cohort {name!r}; name one." if name else "Name a cohort.")
    return name


def _number(parameters: Mapping[str, Any], name: str, default: int) -> int:
    text = str(parameters.get(name) or default).strip()
    if not text.isdecimal() or len(text) > 6:
        raise ParametersError({name: f"needs a whole number, not {text[:40]!r}."})
    return int(text)


def _pace(parameters: Mapping[str, Any]) -> Pace:
    values: dict[str, Any] = {name: parameters[name] for name in _NUMBERS}
    values |= {of: timedelta(hours=parameters[key]) for key, of in _HOURS.items()}
    return Pace(**values)


def _cohort(parameters: Mapping[str, Any]) -> Cohort:
    return Cohort.objects.get(name=parameters["cohort"])


def _bundles(parameters: Mapping[str, Any]) -> list[TrustAnchorBundle]:
    return list(TrustAnchorBundle.objects.filter(pk__in=parameters["bundles"]).order_by("pk"))
