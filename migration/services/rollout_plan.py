"""The plan of a migration: which chargers would move to Profile 3, in which wave, and which would not and why."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import connection
from django.db.models import Model, Q, QuerySet

from inventory.actors import Actor
from inventory.choices import CohortKind, SubjectKind
from inventory.errors import InvalidInputError, ParametersError
from inventory.models import Cohort, ManagedIdentity, Plan, PlanTarget
from inventory.services.plans import selection
from inventory.services.plans.errors import NothingToPlanError
from inventory.services.plans.expecting import Expected
from inventory.services.plans.kinds import Field, PlanCounts, Stand, Verdict, excluded, included
from inventory.services.plans.selection import gather
from migration.models import MigrationCase, MigrationRollout, Wave
from migration.services import filling, forecast, plan_load, readiness
from migration.services.readiness import PROFILE_3
from migration.states import CASE_COLOURS, WHAT_NEXT, CaseState, ReasonCode, RolloutState, WaveState

MOST_WAVES = 50
LONGEST_NAME = 120
S = CaseState
PER_WAVE: tuple[tuple[str, int | None, int, int], ...] = (
    ("concurrency", 200, 1, 100_000),
    ("per_minute", 1_500, 1, 1_000_000),
    ("per_family", None, 1, 100_000),
    ("per_site", None, 1, 100_000),
    ("patience_hours", 72, 1, 8_760),
)
"""Parameters that each wave may have its own value of: name, default, least, most."""
WAVE_THRESHOLDS: tuple[tuple[str, int, int], ...] = (
    ("success_threshold_percent", 1, 100),
    ("failure_threshold_percent", 0, 99),
    ("minimum_sample", 1, 1_000_000),
)
ALL: tuple[tuple[str, int, int, int], ...] = (
    ("success_threshold_percent", 95, 1, 100),
    ("failure_threshold_percent", 5, 0, 99),
    ("minimum_sample", 10, 1, 1_000_000),
    ("retry_budget", 1, 0, 10),
    ("case_deadline_minutes", 240, 1, 100_000),
    ("return_deadline_minutes", 1_440, 1, 100_000),
    ("family_failure_limit", 3, 1, 100_000),
    ("site_failure_limit", 3, 1, 100_000),
)
"""Parameters of the rollout: name, default, least, most."""
_HELP = {
    "concurrency": "Chargers of a wave on the way at once.",
    "per_minute": "Chargers of a wave started in a minute.",
    "per_family": "Of one family on the way at once; empty: no limit of its own.",
    "per_site": "Of one site on the way at once; empty: no limit of its own.",
    "patience_hours": "What is undecided so long after its start makes the gate of a wave inconclusive.",
    "success_threshold_percent": "So many of a wave must be active before the next one starts.",
    "failure_threshold_percent": "More failures than this close the gate.",
    "minimum_sample": "Chargers decided before failures close the gate.",
    "retry_budget": "Further tries after a charger's first.",
    "case_deadline_minutes": "How long a charger has for its certificate; silence is failure.",
    "return_deadline_minutes": "How long a charger has to come back on Profile 2.",
    "family_failure_limit": "So many failures of one family stop it alone.",
    "site_failure_limit": "So many failures of one site stop it alone.",
}
_FLAGS = {
    "advance_automatically": ("yes", "The next wave starts by itself when the one before has passed."),
    "override_forecast": ("no", "Move chargers although the forecast says that they could not come back."),
}


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()


class MigrationPlan:
    """Take the chargers of cohorts from Profile 2 to mutual TLS, wave after wave."""

    key = "migration"
    label = "Migration to Profile 3"
    permission = "migration.start_migrationrollout"
    fields: Sequence[Field] = (
        Field("cohorts", "Cohorts", "One a wave, in their order.", required=True, many=True),
        Field("name", "Name", "What the rollout is called; empty: after its cohorts."),
        *(Field(name, _label(name), _HELP[name], default=str(default)) for name, default, *_ in ALL),
        *(Field(name, _label(name), _HELP[name], default=str(default or "")) for name, default, *_ in PER_WAVE),
        *(
            Field(name, _label(name), text, default=default, choices=[("yes", "Yes"), ("no", "No")])
            for name, (default, text) in _FLAGS.items()
        ),
    )
    groups: Sequence[str] = ("wave",)
    words: Mapping[str, str] = {
        "wave": "wave",
        "issue": "issue and install a certificate",
        "use": "use its certificate",
        "cut_over": "cut over to Profile 3",
        "on_profile_3": "on Profile 3 already",
        "under_way": "in another rollout",
        "in_quarantine": "in quarantine",
        **{str(code.value): str(code.label) for code in ReasonCode if code},
    }

    def __init__(self, cases_at_once: int = filling.BATCH) -> None:
        """
        :param cases_at_once: how many cases are open when it is applied; `filling` opens the others.
        """
        self._cases_at_once = cases_at_once

    def validate(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wrong: dict[str, str] = {}
        known = {"cohorts", "waves", "name", *_FLAGS, *(item[0] for item in ALL), *(item[0] for item in PER_WAVE)}
        if unknown := sorted(set(parameters) - known):
            wrong[""] = f"There is no parameter {', '.join(unknown)}; use {', '.join(sorted(known))}."
        checked: dict[str, Any] = {
            name: gather(wrong, partial(selection.number, parameters, name, default, least, most))
            for name, default, least, most in ALL
        }
        for name, (default, _) in _FLAGS.items():
            checked[name] = gather(wrong, partial(_flag, parameters, name, default))
        gather(wrong, partial(_check_thresholds, checked, "The rollout"))
        shared = {
            name: gather(wrong, partial(_optional, parameters, name, default, least, most))
            for name, default, least, most in PER_WAVE
        }
        given = gather(wrong, partial(_given_waves, parameters)) or []
        checked["waves"] = [_wave(item, shared, checked, wrong, f"waves/{number}") for number, item in enumerate(given)]
        names = [wave["cohort"] for wave in checked["waves"]]
        gather(wrong, partial(_refuse_repeats, names))
        checked["name"] = gather(wrong, partial(_name, parameters, names))
        selection.refuse(wrong)
        return checked

    def candidates(self, parameters: Mapping[str, Any]) -> QuerySet[ManagedIdentity]:
        members = Q(pk__in=[])
        for cohort in _cohorts(parameters):
            members |= _membership(cohort)
        return ManagedIdentity.objects.filter(members, kind=SubjectKind.CHARGER)

    def judge(
        self, parameters: Mapping[str, Any], identities: Sequence[ManagedIdentity], now: datetime
    ) -> list[Verdict]:
        ids = [identity.pk for identity in identities]
        wave_of: dict[int, int] = {}
        for position, cohort in reversed(list(enumerate(_cohorts(parameters), start=1))):
            inside = ManagedIdentity.objects.filter(_membership(cohort), pk__in=ids).order_by()
            wave_of |= dict.fromkeys(inside.values_list("pk", flat=True), position)
        live = {
            case.identity_id: case
            for case in MigrationCase.objects.live().filter(identity__in=ids).select_related("wave__rollout")
        }
        checks = readiness.check(identities, now)
        lost: dict[int, str] = {}
        if not parameters["override_forecast"]:
            change = forecast.CutOver(identities, certificates_to_come=True)
            lost = {item.identity.pk: f"{item.sentence}." for item in forecast.predict(change, now)}
        return [
            _verdict(
                identity, live.get(identity.pk), checks[identity.pk], lost.get(identity.pk, ""), wave_of[identity.pk]
            )
            for identity in identities
        ]

    def expected(self, plan: Plan, counts: PlanCounts, now: datetime) -> Expected:
        return plan_load.expected(plan, now)

    def apply(self, plan: Plan, actor: Actor, reason: str, now: datetime) -> None:
        """Make the rollout and its waves, and open the first of its cases; `filling` opens the others.

        :raises NothingToPlanError: when a wave would have no charger.
        """
        if plan.parameters["override_forecast"]:
            actor.require(forecast.OVERRIDE)
        parameters = plan.parameters
        rollout = MigrationRollout(
            name=parameters["name"],
            plan=plan,
            success_threshold_percent=parameters["success_threshold_percent"],
            failure_threshold_percent=parameters["failure_threshold_percent"],
            minimum_sample=parameters["minimum_sample"],
            retry_budget=parameters["retry_budget"],
            case_deadline=timedelta(minutes=parameters["case_deadline_minutes"]),
            return_deadline=timedelta(minutes=parameters["return_deadline_minutes"]),
            family_failure_limit=parameters["family_failure_limit"],
            site_failure_limit=parameters["site_failure_limit"],
            advance_automatically=parameters["advance_automatically"],
            overrides_forecast=parameters["override_forecast"],
            reason=reason,
            created_at=now,
        )
        rollout.save()
        waves = _make_waves(rollout, parameters)
        planned = _planned_of(plan)
        if empty := [wave for position, wave in waves.items() if position not in planned]:
            names = ", ".join(f"wave {wave.position} (cohort {wave.cohort})" for wave in empty)
            raise NothingToPlanError(
                f"No charger would move in {names}: every member is excluded, or there is none. See the reasons in the "
                "plan, then plan again without these cohorts."
            )
        filling.fill_batch(plan, self, now, self._cases_at_once)

    def made(self, plan: Plan) -> Sequence[tuple[str, Model]]:
        return [("Rollout", rollout) for rollout in MigrationRollout.objects.filter(plan=plan)]

    def standing(self, plan: Plan, targets: Sequence[PlanTarget]) -> Mapping[int, Stand]:
        """The newest case of each that this plan's rollout has, with why it is not active."""
        mine = MigrationCase.objects.filter(
            wave__rollout__plan=plan, identity__in=[target.identity_id for target in targets if target.included]
        )
        return {
            case.identity_id: Stand(CaseState(case.state).label, CASE_COLOURS[case.state], case.why)
            for case in mine.order_by("pk")
        }


def _optional(parameters: Mapping[str, Any], name: str, default: int | None, least: int, most: int) -> int | None:
    """A whole number that may be left out."""
    if parameters.get(name) in (None, ""):
        return default
    return selection.number(parameters, name, least, least, most)


def _name(parameters: Mapping[str, Any], cohorts: Sequence[str]) -> str:
    name = selection.text(parameters, "name") or f"To Profile 3: {', '.join(cohorts)}"[:LONGEST_NAME]
    if len(name) > LONGEST_NAME:
        raise ParametersError({"name": f"has at most {LONGEST_NAME} characters."})
    return name


def _refuse_repeats(cohorts: Sequence[str]) -> None:
    if twice := sorted({name for name in cohorts if name and cohorts.count(name) > 1}):
        raise InvalidInputError(f"Cohort {', '.join(twice)} is named twice; a charger moves in one wave.")


def _flag(parameters: Mapping[str, Any], name: str, default: str) -> bool:
    value = parameters.get(name, default)
    if isinstance(value, bool):
        return value
    words = {"yes": True, "true": True, "no": False, "false": False, "": default == "yes"}
    if not isinstance(value, str) or value.strip().lower() not in words:
        raise ParametersError({name: "needs yes or no."})
    return words[value.strip().lower()]


def _check_thresholds(thresholds: Mapping[str, Any], whose: str) -> None:
    success, failure = thresholds["success_threshold_percent"], thresholds["failure_threshold_percent"]
    if success is not None and failure is not None and success + failure > 100:
        raise InvalidInputError(
            f"{whose} can never be both: {success} % active and {failure} % failed are more than all. Lower one of the "
            "thresholds."
        )


def _given_waves(parameters: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """As objects of their own, or as the cohorts alone."""
    given = parameters.get("waves")
    if given in (None, "", []):
        value = parameters.get("cohorts") or []
        names = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
            raise InvalidInputError("cohorts needs the names of cohorts, one a wave.")
        given = [{"cohort": name.strip()} for name in names]
    elif parameters.get("cohorts"):
        raise InvalidInputError("Name the cohorts either alone or in the waves, not in both.")
    if not isinstance(given, list) or not all(isinstance(item, Mapping) for item in given):
        raise InvalidInputError("waves needs a list of waves, each with its cohort.")
    if not given:
        raise InvalidInputError("A migration needs at least one cohort: name one a wave.")
    if len(given) > MOST_WAVES:
        raise InvalidInputError(f"A migration has at most {MOST_WAVES} waves; {len(given)} are too many.")
    return given


def _wave(
    given: Mapping[str, Any],
    shared: Mapping[str, int | None],
    checked: Mapping[str, Any],
    wrong: dict[str, str],
    within: str,
) -> dict[str, Any]:
    """One wave: its own values, else those for all waves; of thresholds only its own, else the rollout's hold."""
    gather(wrong, partial(_refuse_unknown_of_wave, given))
    wave: dict[str, Any] = {"cohort": gather(wrong, partial(_cohort_named, given), within=within) or ""}
    bounds = [(key, shared[key], least, most) for key, _, least, most in PER_WAVE]
    own = [(key, None, least, most) for key, least, most in WAVE_THRESHOLDS]
    for key, default, least, most in [*bounds, *own]:
        value = gather(wrong, partial(_optional, given, key, default, least, most), within=within)
        if value is not None:
            wave[key] = value
    if any(key in wave for key, *_ in own):
        thresholds = {key: wave.get(key, checked[key]) for key, *_ in own}
        gather(wrong, partial(_check_thresholds, thresholds, f"The wave of cohort {wave['cohort']}"))
    return wave


def _refuse_unknown_of_wave(given: Mapping[str, Any]) -> None:
    known = {"cohort", *(item[0] for item in PER_WAVE), *(item[0] for item in WAVE_THRESHOLDS)}
    if unknown := sorted(set(given) - known):
        raise InvalidInputError(f"A wave has no parameter {', '.join(unknown)}; use {', '.join(sorted(known))}.")


def _cohort_named(given: Mapping[str, Any]) -> str:
    name = selection.text(given, "cohort")
    if not Cohort.objects.filter(name=name).exists():
        raise InvalidInputError(f"There is no cohort {name!r}; its name may have changed.")
    return name


def _cohorts(parameters: Mapping[str, Any]) -> list[Cohort]:
    names = [wave["cohort"] for wave in parameters["waves"]]
    found = {cohort.name: cohort for cohort in Cohort.objects.filter(name__in=names)}
    if missing := [name for name in names if name not in found]:
        raise InvalidInputError(f"There is no cohort {', '.join(missing)}; its name may have changed.")
    return [found[name] for name in names]


def _membership(cohort: Cohort) -> Q:
    if cohort.kind == CohortKind.FILTER:
        return cohort.condition()
    members = Cohort.members.through.objects.filter(cohort_id=cohort.pk)
    return Q(pk__in=members.values("managedidentity_id"))


def _verdict(
    identity: ManagedIdentity, case: MigrationCase | None, checks: Sequence[readiness.Check], lost: str, position: int
) -> Verdict:
    who = identity.authoritative_identifier
    if identity.security_profile >= PROFILE_3 or (case is not None and case.state == S.ACTIVE):
        return excluded("on_profile_3", f"{who} is on Profile 3 already.")
    if case is not None and case.state == S.QUARANTINE:
        return excluded("in_quarantine", f"{who} is in quarantine: {case.why} Release it first.")
    if case is not None and not _may_be_adopted(case):
        rollout = case.wave.rollout.name if case.wave else "a rollout"
        return excluded("under_way", f"{who} moves with {rollout} already.")
    failing = readiness.first_failure(checks)
    if failing is not None:
        return excluded(failing.code, f"{failing.sentence} {WHAT_NEXT[failing.code]}")
    if lost:
        return excluded(ReasonCode.WOULD_BE_LOCKED_OUT, lost[:1].upper() + lost[1:])
    return included(f"wave:{position}", "issue", "cut_over")


def _may_be_adopted(case: MigrationCase) -> bool:
    """A pending case that no wave will start any more."""
    if case.state != S.PENDING:
        return False
    wave = case.wave
    return (
        wave is None
        or wave.state in (WaveState.STOPPED, WaveState.ROLLED_BACK)
        or wave.rollout.state in (RolloutState.STOPPED, RolloutState.COMPLETE)
    )


def _make_waves(rollout: MigrationRollout, parameters: Mapping[str, Any]) -> dict[int, Wave]:
    waves = {}
    for position, (given, cohort) in enumerate(zip(parameters["waves"], _cohorts(parameters), strict=True), start=1):
        values = {key: given[key] for key, *_ in PER_WAVE if key in given and key != "patience_hours"}
        values |= {key: given[key] for key, *_ in WAVE_THRESHOLDS if key in given}
        wave = Wave(
            rollout=rollout,
            position=position,
            cohort=cohort,
            patience=timedelta(hours=given["patience_hours"]),
            **values,
        )
        wave.save()
        waves[position] = wave
    return waves


def _planned_of(plan: Plan) -> set[int]:
    """The positions of the waves that somebody moves in."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT split_part(step, ':', 2)::int FROM inventory_plantarget, unnest(steps) AS step "
            "WHERE plan_id = %s AND included AND step LIKE 'wave:%%'",
            [plan.pk],
        )
        return {position for (position,) in cursor.fetchall()}
