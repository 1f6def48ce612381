"""Whom a bulk action is about: the parameters that every kind of plan shares."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from django.db.models import QuerySet

from inventory.choices import CohortKind
from inventory.errors import InvalidInputError, ParametersError
from inventory.models import Cohort, ManagedIdentity
from inventory.services.plans.kinds import Field

Checked = TypeVar("Checked")

MOST_IDENTIFIERS = 1_000
FILTERS = ("family", "site", "region", "owner", "tag", "program")

FIELDS = (
    Field("cohort", "Cohort", "The name of a cohort; or use the fields below."),
    Field("family", "Charger families", "Their names.", many=True),
    Field("site", "Sites", many=True),
    Field("region", "Regions", many=True),
    Field("owner", "Owners", many=True),
    Field("tag", "Tags", many=True),
    Field("program", "Programs", many=True),
    Field("identifiers", "Identifiers", f"At most {MOST_IDENTIFIERS:,}; larger sets are cohorts.", many=True),
)
NAMES = frozenset(field.name for field in FIELDS)


def gather(wrong: dict[str, str], check: Callable[[], Checked], *, within: str = "") -> Checked | None:
    """Check one of several things, so that whoever gave them is told of all that is wrong at once.

    :param wrong: takes up what is wrong, as `ParametersError` has it; raise that when everything was looked at.
    :param within: of one of a list of groups: where it is, as `waves/0`.
    :returns: what was checked; None where it cannot be used.
    """
    try:
        return check()
    except ParametersError as error:
        wrong |= {f"{within}/{name}" if within and name else name: told for name, told in error.places.items()}
    except InvalidInputError as error:
        wrong[""] = f"{wrong.get('', '')} {error}".strip()
    return None


def refuse(wrong: Mapping[str, str]) -> None:
    """Tell of everything that is wrong.

    :raises ParametersError: when anything is.
    """
    if wrong:
        raise ParametersError(wrong)


def texts(parameters: Mapping[str, Any], name: str) -> list[str]:
    """A parameter that is a text or a list of texts, sorted and without repeats.

    :raises InvalidInputError: when it is anything else.
    """
    value = parameters.get(name)
    items = value if isinstance(value, list) else [] if value in (None, "") else [value]
    if not all(isinstance(item, str) for item in items):
        raise ParametersError({name: "needs a text or a list of texts."})
    return sorted({item.strip() for item in items if item.strip()})


def text(parameters: Mapping[str, Any], name: str, default: str = "") -> str:
    """A parameter that is one text.

    :raises InvalidInputError: when it is anything else.
    """
    value = parameters.get(name, default)
    if value is None:
        return default
    if not isinstance(value, str):
        raise ParametersError({name: "needs a text."})
    return value.strip() or default


def number(parameters: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    """A parameter that is a whole number.

    :raises ParametersError: when it is none, or out of its bounds.
    """
    value = parameters.get(name)
    if value in (None, ""):
        return default
    plain = value if isinstance(value, int) and not isinstance(value, bool) else str(value).strip()
    if isinstance(plain, str):
        if not plain.isascii() or not plain.isdigit() or len(plain) > 9:
            raise ParametersError({name: f"needs a whole number from {least:,} to {most:,}."})
        plain = int(plain)
    if not least <= plain <= most:
        raise ParametersError({name: f"needs a whole number from {least:,} to {most:,}."})
    return plain


def refuse_unknown(parameters: Mapping[str, Any], *own: str) -> None:
    """Refuse a misspelt parameter, so that it is not taken for done.

    :raises InvalidInputError: naming it.
    """
    known = NAMES | set(own)
    if unknown := sorted(set(parameters) - known):
        raise InvalidInputError(f"There is no parameter {', '.join(unknown)}; use {', '.join(sorted(known))}.")


def validate(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The selection among the parameters, in its one form.

    :raises InvalidInputError: when it names nobody, two things at once, or what does not exist.
    """
    cohort, identifiers = text(parameters, "cohort"), texts(parameters, "identifiers")
    filters = {name: values for name in FILTERS if (values := texts(parameters, name))}
    if sum(map(bool, (cohort, identifiers, filters))) != 1:
        raise InvalidInputError(
            "Say whom it is about in one way: a cohort, or identifiers, or "
            f"filters ({', '.join(FILTERS)}), which must all match."
        )
    if cohort:
        _cohort(cohort)
        return {"cohort": cohort}
    if filters:
        return filters
    if len(identifiers) > MOST_IDENTIFIERS:
        raise InvalidInputError(f"{len(identifiers)} identifiers are too many for a plan; make a cohort of them.")
    known = set(_named(identifiers).values_list("authoritative_identifier", flat=True))
    if missing := [item for item in identifiers if item not in known]:
        several = " Give several of them one by one, as a list." if any("," in item for item in missing) else ""
        raise InvalidInputError(f"There is no identity with the identifier {', '.join(missing[:20])}.{several}")
    return {"identifiers": identifiers}


def identities(parameters: Mapping[str, Any]) -> QuerySet[ManagedIdentity]:
    """Everybody whom validated parameters select.

    :raises InvalidInputError: when their cohort is gone.
    """
    if "cohort" in parameters:
        return _cohort(parameters["cohort"]).identities()
    if "identifiers" in parameters:
        return _named(parameters["identifiers"])
    chosen = {name: parameters[name] for name in FILTERS if name in parameters}
    return Cohort(kind=CohortKind.FILTER, filter=chosen).identities()


def in_words(parameters: Mapping[str, Any]) -> str:
    """Whom it is about, for the title."""
    if "cohort" in parameters:
        return f"cohort {parameters['cohort']}"
    if waves := parameters.get("waves"):
        return ", ".join(wave["cohort"] for wave in waves)
    if "identifiers" in parameters:
        names = parameters["identifiers"]
        return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return "; ".join(f"{name} {', '.join(parameters[name])}" for name in FILTERS if name in parameters)


def _named(identifiers: list[str]) -> QuerySet[ManagedIdentity]:
    return ManagedIdentity.objects.filter(authoritative_identifier__in=identifiers)


def _cohort(name: str) -> Cohort:
    found = Cohort.objects.filter(name=name).first()
    if found is None:
        raise InvalidInputError(f"There is no cohort {name!r}; its name may have changed.")
    return found
