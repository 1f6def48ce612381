"""The verbs of a provisioning case in the console, and the one that opens a case for an identity."""

from typing import Any

from django import forms
from django.utils import timezone

from inventory.admin.verbs import ActionForm, Order, Verb, Verbs, identity_verbs
from inventory.models import ManagedIdentity
from provisioning import paths
from provisioning.choices import EvidenceKind, ExternalSystem, Outcome, PathKey
from provisioning.models import ProvisioningCase
from provisioning.services import cases, outcomes
from provisioning.services.prerequisites import judge

_MONOSPACE = {"rows": 6, "class": "c-mono", "spellcheck": "false"}


class ConfirmForm(ActionForm):
    """Which prerequisite."""

    prerequisite = forms.ChoiceField(label="Prerequisite")

    def __init__(self, *args: Any, target: ProvisioningCase, **kwargs: Any) -> None:
        super().__init__(*args, target=target, **kwargs)
        waiting = [item for item in judge(target, timezone.now()) if item.to_confirm and not item.met]
        choices = self.fields["prerequisite"]
        if isinstance(choices, forms.ChoiceField):
            choices.choices = [(item.key, item.words) for item in waiting]


class BlockForm(ActionForm):
    """Whether for good."""

    revoked = forms.BooleanField(
        label="Revoked for good",
        required=False,
        help_text="Otherwise it is suspended, and can come back on fresh word of its authority.",
    )


class OutcomeForm(ActionForm):
    """What an external party said."""

    system = forms.ChoiceField(label="Who said it", choices=ExternalSystem.choices, initial=ExternalSystem.MANUAL)
    kind = forms.ChoiceField(label="What it is about", choices=EvidenceKind.choices, initial=EvidenceKind.READINESS)
    outcome = forms.ChoiceField(label="What it means", choices=Outcome.choices)
    summary = forms.CharField(label="In a sentence", max_length=500)
    status = forms.CharField(label="In its own word", max_length=80, required=False)
    observed_at = forms.DateTimeField(
        label="When it was true (UTC)",
        required=False,
        help_text="By the time of whoever said it; now, where it is left empty. Evidence ages from then on.",
    )
    reference_kind = forms.CharField(label="Kind of reference", max_length=40, required=False)
    reference = forms.CharField(label="Reference there", max_length=300, required=False)
    trace_id = forms.CharField(label="Trace id", max_length=120, required=False)
    certificate_pem = forms.CharField(
        label="Certificate",
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs=_MONOSPACE),
        help_text="PEM, if it came along. As much of it is stored as its ownership decision allows.",
    )
    chain_pem = forms.CharField(
        label="Its chain", required=False, max_length=100_000, widget=forms.Textarea(attrs=_MONOSPACE)
    )


class StartForm(ActionForm):
    """Which certificate, and by which way."""

    purpose = forms.ChoiceField(label="Purpose")
    slot = forms.CharField(label="EMAID", required=False, max_length=120, help_text="Of a contract; else empty.")
    path = forms.ChoiceField(label="Path", choices=PathKey.choices)
    pcid = forms.CharField(label="PCID", required=False, max_length=40, help_text="Of the vehicle, for a contract.")

    def __init__(self, *args: Any, target: ManagedIdentity, **kwargs: Any) -> None:
        super().__init__(*args, target=target, **kwargs)
        possible = [entry for entry in target.possible_purposes() if entry.ownership_to_decide]
        ways = {path.key for entry in possible for path in paths.paths_of(entry.key)}
        for name, offered in (
            ("purpose", [(entry.key, entry.label) for entry in possible]),
            ("path", [(key.value, key.label) for key in PathKey if key in ways]),
        ):
            field = self.fields[name]
            if isinstance(field, forms.ChoiceField):
                field.choices = offered
        if not any(entry.slot_meaning for entry in possible):
            del self.fields["slot"], self.fields["pcid"]


def _told(case: ProvisioningCase) -> str:
    now = ProvisioningCase.objects.get(pk=case.pk)
    return f"Case {now.pk} of {case.identity.authoritative_identifier} is {now.get_state_display().lower()}. {now.why}"


def _confirm(order: Order) -> str:
    return _told(
        cases.confirm(
            case=order.target,
            prerequisite=order.values["prerequisite"],
            actor=order.actor,
            reason=order.reason,
            now=order.now,
        )
    )


def _deliver(order: Order) -> str:
    return _told(cases.deliver(case=order.target, actor=order.actor, reason=order.reason, now=order.now))


def _retry(order: Order) -> str:
    return _told(cases.retry(case=order.target, actor=order.actor, reason=order.reason, now=order.now))


def _unblock(order: Order) -> str:
    return _told(cases.unblock(case=order.target, actor=order.actor, reason=order.reason, now=order.now))


def _cancel(order: Order) -> str:
    return _told(cases.cancel(case=order.target, actor=order.actor, reason=order.reason, now=order.now))


def _block(order: Order) -> str:
    revoked = order.values["revoked"]
    return _told(cases.block(case=order.target, revoked=revoked, actor=order.actor, reason=order.reason, now=order.now))


def _record(order: Order) -> str:
    answer = outcomes.Answer(dedupe_key=order.key, **order.values)
    evidence = outcomes.record_outcome(
        case=order.target, answer=answer, actor=order.actor, reason=order.reason, now=order.now
    )
    counts = "" if evidence.authoritative else " It is kept, and moves nothing: it is not its authority's word."
    return _told(order.target) + counts


def _start(order: Order) -> str:
    case = cases.start(identity=order.target, actor=order.actor, reason=order.reason, now=order.now, **order.values)
    return _told(case)


case_verbs = Verbs()
for verb in (
    Verb("confirm", "task_alt", _confirm, ConfirmForm),
    Verb("deliver", "local_shipping", _deliver),
    Verb("record_outcome", "fact_check", _record, OutcomeForm),
    Verb("retry", "replay", _retry),
    Verb("unblock", "lock_open", _unblock),
    Verb("block", "block", _block, BlockForm),
    Verb("cancel", "cancel", _cancel),
):
    case_verbs.register(verb)
identity_verbs.register(Verb("provision", "electric_car", _start, StartForm))
