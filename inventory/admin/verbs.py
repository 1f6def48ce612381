"""What an operator can do with an identity, a certificate, a job or a cohort: one entry for each verb.

An entry joins the form that asks for what the verb needs to the one service call that does it. Whether it is allowed
now is asked of the service (`inventory.services.actions`), never decided here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django import forms
from django.db.models import Model

from inventory.actors import Actor


@dataclass(frozen=True, slots=True)
class Order:
    """One action as an operator has filled it in."""

    target: Any
    values: Mapping[str, Any] = field(repr=False)
    actor: Actor
    reason: str
    key: str
    """Unique to this form as it was opened; a form sent twice has the same."""
    now: datetime


class ActionForm(forms.Form):
    """What every action asks for: why."""

    reason = forms.CharField(
        label="Reason",
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 2, "required": True}),
        error_messages={"required": "Say why you do this."},
        help_text="Why you do this. It stays in the audit history, with your name.",
    )

    def __init__(self, *args: Any, target: Model, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.target = target
        self.order_fields([name for name in self.fields if name != "reason"] + ["reason"])


@dataclass(frozen=True, slots=True)
class Preview:
    """What an action would do as it was filled in, shown before it is done."""

    facts: Sequence[tuple[str, str]]
    """Whom it reaches and whom not, as pairs of name and value."""
    obstacle: str = ""
    """Why it would be refused, with what to do."""


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb of the console."""

    name: str
    icon: str
    carry_out: Callable[[Order], str]
    """Calls the service; returns the sentence that tells the operator what has happened."""
    form: type[ActionForm] = ActionForm
    preview: Callable[[Order], Preview] | None = None
    """Where there is one, it is shown for what was filled in before that can be done. It changes nothing."""


class Verbs:
    """The verbs of one kind of object. Apps above the inventory add theirs at start-up."""

    def __init__(self) -> None:
        self._verbs: dict[str, Verb] = {}

    def register(self, verb: Verb) -> None:
        self._verbs[verb.name] = verb

    def get(self, name: str) -> Verb | None:
        return self._verbs.get(name)

    def __iter__(self) -> Iterator[Verb]:
        return iter(self._verbs.values())

    def __contains__(self, name: object) -> bool:
        return name in self._verbs


identity_verbs = Verbs()
record_verbs = Verbs()
job_verbs = Verbs()
cohort_verbs = Verbs()
