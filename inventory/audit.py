"""Attribution of every change: who, why, and which chain of work it belongs to (NFR-001).

A service or a door opens `attributed(...)`; every history row written inside it carries its actor, reason and
correlation id. A change outside of it is refused, so that nothing is ever unaudited.
"""

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from typing import Any

from django.db import models
from django.db.models.signals import pre_delete, pre_save
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from simple_history.models import HistoricalRecords
from simple_history.signals import pre_create_historical_record
from simple_history.utils import get_history_model_for_model

from bfcerts import rows
from inventory.actors import Actor
from inventory.errors import UnattributedChangeError


@dataclass(frozen=True, slots=True)
class Attribution:
    """What the history rows of the current work say."""

    actor: Actor
    reason: str
    correlation_id: str


_current: ContextVar[Attribution | None] = ContextVar("attribution", default=None)


@contextmanager
def attributed(actor: Actor, reason: str, correlation_id: str = "") -> Iterator[Attribution]:
    """Attribute the changes made inside. Nested, the inner one wins and keeps the outer correlation id."""
    outer = _current.get()
    attribution = Attribution(actor, reason, correlation_id or (outer.correlation_id if outer else uuid.uuid4().hex))
    token = _current.set(attribution)
    try:
        yield attribution
    finally:
        _current.reset(token)


def current_attribution() -> Attribution:
    """The attribution in force.

    :raises UnattributedChangeError: when there is none.
    """
    attribution = _current.get()
    if attribution is None:
        raise UnattributedChangeError("A change was attempted without an actor and a reason; it was not made.")
    return attribution


class AttributedHistory(models.Model):
    """The columns that our history tables have beyond simple-history's own, and how their rows are written."""

    actor = models.CharField(max_length=150)
    correlation_id = models.CharField(max_length=64, db_index=True)

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        """History is only ever added."""
        rows.insert(self)


def history(**options: Any) -> HistoricalRecords:
    """The audit history of a model: `HistoricalRecords` with our columns and room for a reason in full."""
    return HistoricalRecords(
        bases=[AttributedHistory],
        history_change_reason_field=models.TextField(null=True),  # simple-history writes None
        history_user_id_field=None,
        **options,
    )


def save_without_history(instance: models.Model, *, fields: Sequence[str] = ()) -> None:
    """Save what is no change of meaning, as a job's next step; its meaning is in the events.

    :param fields: what to save, where that is not everything.
    """
    rows.update(instance, fields)


def add_all(instances: Sequence[models.Model], *, correlation_ids: Sequence[str] = ()) -> None:
    """Store new rows of one model with their history, by two statements however many they are.

    :param correlation_ids: of each, where they belong to chains of work of their own.
    """
    if len(instances) == 1:
        rows.insert(instances[0])
    else:
        rows.insert_all(instances)
    _write_history(instances, "+", correlation_ids)


def save_all(instances: Sequence[models.Model], *, fields: Sequence[str], correlation_ids: Sequence[str] = ()) -> None:
    """Save these columns of rows of one model with their history, by two statements however many they are.

    :param correlation_ids: as in `add_all`.
    """
    if len(instances) == 1:
        rows.update(instances[0], fields)
    else:
        rows.update_all(instances, fields)
    _write_history(instances, "~", correlation_ids)


def _write_history(instances: Sequence[models.Model], kind: str, correlation_ids: Sequence[str]) -> None:
    if not instances:
        return
    history_model, attributes = _history_of(type(instances[0]))
    written = []
    for instance, correlation_id in zip_longest(instances, correlation_ids):
        values = {attribute: getattr(instance, attribute) for attribute in attributes}
        row = history_model(history_date=timezone.now(), history_type=kind, **values)
        _fill_in(row)
        row.correlation_id = correlation_id or row.correlation_id
        written.append(row)
    if len(written) == 1:
        rows.insert(written[0])
    else:
        rows.insert_all(written)


@cache
def _history_of(model: type[models.Model]) -> tuple[Any, tuple[str, ...]]:
    """The history model of a model, and the attributes that both have."""
    history_model: Any = get_history_model_for_model(model)
    return history_model, tuple(field.attname for field in history_model.tracked_fields)


def _attribute(sender: type, **context: Any) -> None:
    _fill_in(context["history_instance"])


def _fill_in(row: Any) -> None:
    """Fill in the attribution; never read it from the instance, where a former save may have left another."""
    attribution = current_attribution()
    row.actor = attribution.actor.name
    row.history_change_reason = attribution.reason
    row.correlation_id = attribution.correlation_id
    row.history_user = attribution.actor.user


def _refuse_unattributed(sender: type[models.Model], instance: models.Model, **context: Any) -> None:
    """Before the row is written, not after: simple-history looks only once the change is made."""
    tracked = hasattr(sender._meta, "simple_history_manager_attribute")
    if tracked and not hasattr(instance, "skip_history_when_saving"):
        current_attribution()


def connect() -> None:
    """Called once, when the app is ready."""
    pre_save.connect(_refuse_unattributed, dispatch_uid="inventory.audit.save")
    pre_delete.connect(_refuse_unattributed, dispatch_uid="inventory.audit.delete")
    pre_create_historical_record.connect(_attribute, dispatch_uid="inventory.audit")


class AuditMiddleware:
    """Attributes what a signed-in person changes in the admin without a service, as a cohort's name."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        correlation_id = uuid.uuid4().hex
        user = getattr(request, "user", None)
        if user is None or not user.is_authenticated:
            with attributed(Actor.system("web"), f"{request.method} {request.path}", correlation_id):
                return self.get_response(request)
        with attributed(Actor.person(user), f"{request.method} {request.path}", correlation_id):
            return self.get_response(request)
