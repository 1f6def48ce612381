"""ETag and If-Match: nobody acts on a version that is no longer (RFC 9110 §8.8.3, §13.1.1)."""

from collections.abc import Callable
from typing import TypeVar

from django.db import transaction
from django.db.models import Model
from rest_framework.request import Request

from inventory.api.problems import PreconditionRequired
from inventory.errors import InventoryError
from inventory.services import versions

Result = TypeVar("Result")
ANY = "*"


def etag_of(instance: Model) -> str:
    """The strong entity tag of an object."""
    return f'"{versions.version_of(instance)}"'


def if_match(request: Request) -> frozenset[str] | None:
    """The versions that the caller would act on; None where any will do.

    Weak tags never match, as the strong comparison of If-Match demands.
    """
    header = request.headers.get("If-Match", "").strip()
    if header in ("", ANY):
        return None
    tags = (part.strip() for part in header.split(","))
    return frozenset(tag.strip('"') for tag in tags if not tag.startswith("W/"))


def require_if_match(request: Request) -> None:
    """Refuse a change that does not say which version it is meant for.

    :raises PreconditionRequired: where If-Match is missing.
    """
    if not request.headers.get("If-Match", "").strip():
        raise PreconditionRequired


def on_version(request: Request, target: Model, work: Callable[[], Result]) -> Result:
    """Do the work while the object is the version that the caller has seen.

    A refusal of the work is raised after the commit, so that what it leaves in the logs is kept.

    :raises ChangedMeanwhileError: when it is another version now.
    """
    expected = if_match(request)
    if expected is None:
        return work()
    with transaction.atomic():
        versions.lock(target, expected)
        try:
            return work()
        except InventoryError as error:
            refusal = error
    raise refusal
