"""The verbs of an identity: issue, cut over, the plain commands to a station, enable and disable."""

from typing import Any

from django import forms
from django.utils import timezone

from bfcerts.ocpp.models import OutboxCommand
from inventory.admin.verbs import ActionForm, Order, Verb, identity_verbs
from inventory.choices import STATEABLE_EVIDENCE, EvidenceKind, RecordState
from inventory.models import ManagedIdentity
from inventory.purposes import purpose
from inventory.services import holding, identities, lifecycle, lockouts, station_commands, station_logs
from inventory.services.registration import REGISTERED_AS

_PEM = {"rows": 6, "class": "c-mono", "spellcheck": "false"}


class IssueForm(ActionForm):
    """Which certificate, and from which request."""

    purpose = forms.ChoiceField(label="Purpose")
    slot = forms.CharField(
        required=False,
        max_length=120,
        help_text="Only where an identity has several certificates of the purpose side by side.",
    )
    csr_pem = forms.CharField(
        label="Certificate signing request",
        required=False,
        max_length=20_000,
        strip=True,
        widget=forms.Textarea(attrs={"rows": 6, "class": "c-mono", "spellcheck": "false"}),
        help_text="PEM, where you have one. Leave empty, and the endpoint is asked for one.",
    )

    def __init__(self, *args: Any, target: ManagedIdentity, **kwargs: Any) -> None:
        super().__init__(*args, target=target, **kwargs)
        possible = target.possible_purposes()
        choices = self.fields["purpose"]
        if isinstance(choices, forms.ChoiceField):
            choices.choices = [(entry.key, entry.label) for entry in possible]
        if lockouts.is_out_of_reach(target, timezone.now()):
            request = self.fields["csr_pem"]
            request.required = True
            request.help_text = "PEM, taken on site: it is locked out and cannot be asked for one."
        meanings = [f"{entry.label}: {entry.slot_meaning}" for entry in possible if entry.slot_meaning]
        if meanings:
            self.fields["slot"].help_text = "; ".join(meanings)
        else:
            del self.fields["slot"]


class RegisterForm(ActionForm):
    """A certificate that others issued, and what is known of it."""

    purpose = forms.ChoiceField(label="Purpose")
    slot = forms.CharField(required=False, max_length=120)
    certificate_pem = forms.CharField(label="Certificate", max_length=20_000, strip=True, widget=forms.Textarea(_PEM))
    chain_pem = forms.CharField(
        label="Its chain",
        required=False,
        max_length=100_000,
        strip=True,
        widget=forms.Textarea(_PEM),
        help_text="The CAs between it and its root, in any order.",
    )
    state = forms.ChoiceField(
        label="How far it is", choices=[(state.value, RecordState(state).label) for state in REGISTERED_AS]
    )
    evidence_kind = forms.ChoiceField(
        label="What shows that",
        required=False,
        choices=[("", "Nothing"), *((kind.value, kind.label) for kind in EvidenceKind if kind in STATEABLE_EVIDENCE)],
        help_text="Needed unless it is only issued. What only we can observe is not taken from a statement.",
    )
    responsible_authority = forms.CharField(
        label="Who can revoke and renew it",
        required=False,
        max_length=200,
        help_text="As its ownership decision says, or its issuer, where it is left empty.",
    )

    def __init__(self, *args: Any, target: ManagedIdentity, **kwargs: Any) -> None:
        super().__init__(*args, target=target, **kwargs)
        possible = target.possible_purposes()
        choices = self.fields["purpose"]
        if isinstance(choices, forms.ChoiceField):
            choices.choices = [(entry.key, entry.label) for entry in possible]
        meanings = [f"{entry.label}: {entry.slot_meaning}" for entry in possible if entry.slot_meaning]
        if meanings:
            self.fields["slot"].help_text = "; ".join(meanings)
        else:
            del self.fields["slot"]


class CutOverForm(ActionForm):
    """Whether also where it could not come back."""

    override_forecast = forms.BooleanField(label="Although it could not come back", required=False)

    def __init__(self, *args: Any, target: ManagedIdentity, **kwargs: Any) -> None:
        super().__init__(*args, target=target, **kwargs)
        against = holding.foreseen(target, timezone.now())
        if against:
            self.fields["override_forecast"].help_text = (
                f"The forecast: {against}. Without this the cut-over is refused; it needs a permission of its own, and "
                "your reason is kept with the evidence."
            )
        else:
            del self.fields["override_forecast"]


class ResetForm(ActionForm):
    """When to restart."""

    kind = forms.ChoiceField(
        label="When",
        choices=[("OnIdle", "When it is idle"), ("Immediate", "At once, ending a running transaction")],
    )


def _issue(order: Order) -> str:
    job = lifecycle.issue(
        identity=order.target,
        purpose=order.values["purpose"],
        slot=order.values.get("slot", ""),
        csr_pem=order.values["csr_pem"] or None,
        actor=order.actor,
        reason=order.reason,
        idempotency_key=order.key,
        now=order.now,
    )
    label = purpose(job.purpose).label
    return f"Job {job.pk} works on the {label} certificate of {order.target.authoritative_identifier}."


def _register(order: Order) -> str:
    values = {**order.values, "evidence_kind": order.values["evidence_kind"] or None}
    record = lifecycle.register_external(
        identity=order.target, actor=order.actor, reason=order.reason, now=order.now, **values
    )
    return (
        f"Certificate {record.pk} of {order.target.authoritative_identifier} is registered: "
        f"{record.get_state_display().lower()}. {record.responsible_authority} can revoke and renew it."
    )


def _cut_over(order: Order) -> str:
    job = station_commands.cut_over(
        identity=order.target,
        actor=order.actor,
        reason=order.reason,
        override_forecast=order.values.get("override_forecast", False),
        now=order.now,
    )
    return f"Job {job.pk} cuts {order.target.authoritative_identifier} over to Profile 3."


def _sent(order: Order, command: OutboxCommand) -> str:
    return (
        f"Command {command.pk} waits for {order.target.authoritative_identifier}: it is delivered while the station "
        "is connected, and its answer is shown in the time line."
    )


def _request_csr(order: Order) -> str:
    command = station_commands.request_csr(identity=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return _sent(order, command)


def _list_certificates(order: Order) -> str:
    command = station_commands.list_certificates(
        identity=order.target, actor=order.actor, reason=order.reason, now=order.now
    )
    return _sent(order, command)


def _install_trust_anchors(order: Order) -> str:
    command = station_commands.install_trust_anchors(
        identity=order.target, actor=order.actor, reason=order.reason, now=order.now
    )
    return _sent(order, command)


def _fetch_security_log(order: Order) -> str:
    log = station_logs.fetch(identity=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return (
        f"{order.target.authoritative_identifier} is asked for its security log as soon as it is connected; it may "
        f"upload until {log.upload_until:%H:%M} UTC. See “Station logs” for how far it is."
    )


def _reset(order: Order) -> str:
    command = station_commands.reset(
        identity=order.target,
        kind=order.values["kind"],
        actor=order.actor,
        reason=order.reason,
        now=order.now,
    )
    return _sent(order, command)


def _enable(order: Order) -> str:
    identities.set_enabled(identity=order.target, enabled=True, actor=order.actor, reason=order.reason)
    return f"{order.target.authoritative_identifier} is let in again."


def _disable(order: Order) -> str:
    identities.set_enabled(identity=order.target, enabled=False, actor=order.actor, reason=order.reason)
    return f"{order.target.authoritative_identifier} is refused at every door from now on."


for verb in (
    Verb("issue", "add_card", _issue, IssueForm),
    Verb("register", "library_add", _register, RegisterForm),
    Verb("cut_over", "swap_horiz", _cut_over, CutOverForm),
    Verb("request_csr", "contract_edit", _request_csr),
    Verb("list_certificates", "list_alt", _list_certificates),
    Verb("install_trust_anchors", "anchor", _install_trust_anchors),
    Verb("fetch_security_log", "security_update_good", _fetch_security_log),
    Verb("reset", "restart_alt", _reset, ResetForm),
    Verb("enable", "toggle_on", _enable),
    Verb("disable", "block", _disable),
):
    identity_verbs.register(verb)
