"""What a charger family can do, on its page: the matrix, and the verb that declares a cell of it."""

from django import forms

from inventory.admin.verbs import ActionForm, Order, Verb, Verbs
from inventory.choices import Capability
from inventory.services import capabilities

_SUPPORTED = {"yes": True, "no": False, "unknown": None}


class DeclareForm(ActionForm):
    """One cell of the matrix."""

    capability = forms.ChoiceField(choices=Capability.choices)
    supported = forms.ChoiceField(
        label="Its stations can",
        choices=[("yes", "Yes"), ("no", "No"), ("unknown", "Unknown: take back what was known")],
    )
    source = forms.CharField(
        max_length=300, required=False, help_text="Who says so: a data sheet, a vendor's letter, a test."
    )


def _declare(order: Order) -> str:
    state = capabilities.declare(
        family=order.target,
        capability=order.values["capability"],
        supported=_SUPPORTED[order.values["supported"]],
        source=order.values["source"],
        actor=order.actor,
        reason=order.reason,
        now=order.now,
    )
    return f"{order.target}, {state.capability.label}: {state.word}."


family_verbs = Verbs()
family_verbs.register(Verb("declare", "fact_check", _declare, DeclareForm))
