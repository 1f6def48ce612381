"""The verbs of a cohort: who belongs to it."""

from django import forms

from inventory.admin.verbs import ActionForm, Order, Verb, cohort_verbs
from inventory.services import catalogue


class MembersForm(ActionForm):
    """Identities by their identifiers."""

    identifiers = forms.CharField(
        label="Identifiers",
        max_length=100_000,
        widget=forms.Textarea(attrs={"rows": 8, "class": "c-mono", "spellcheck": "false"}),
        help_text="Authoritative identifiers, one on each line.",
    )


def _add(order: Order) -> str:
    count = catalogue.add_members(
        cohort=order.target,
        identifiers=order.values["identifiers"].splitlines(),
        actor=order.actor,
        reason=order.reason,
    )
    return f"{count} {'identity' if count == 1 else 'identities'} added to {order.target}."


def _remove(order: Order) -> str:
    count = catalogue.remove_members(
        cohort=order.target,
        identifiers=order.values["identifiers"].splitlines(),
        actor=order.actor,
        reason=order.reason,
    )
    return f"{count} {'identity' if count == 1 else 'identities'} removed from {order.target}."


for verb in (
    Verb("add_members", "group_add", _add, MembersForm),
    Verb("remove_members", "group_remove", _remove, MembersForm),
):
    cohort_verbs.register(verb)
