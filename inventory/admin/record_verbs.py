"""The verbs of a certificate: renew, deliver again, deactivate, reactivate, revoke, delete."""

from django import forms

from inventory.admin.verbs import ActionForm, Order, Verb, record_verbs
from inventory.choices import RevocationReason
from inventory.models import CertificateRecord
from inventory.services import lifecycle

_FORCE_HELP = (
    "Do it even if this is the last working credential: the endpoint then has no way in until somebody helps it."
)


class RevokeForm(ActionForm):
    """What the revocation list says."""

    revocation_reason = forms.ChoiceField(
        label="What the CA is told", choices=RevocationReason.choices, initial=RevocationReason.UNSPECIFIED
    )


class ForceForm(ActionForm):
    """Whether the last working credential may go."""

    force = forms.BooleanField(label="Even the last working credential", required=False, help_text=_FORCE_HELP)


def _name(record: CertificateRecord) -> str:
    return f"the {record.get_purpose_display()} certificate of {record.identity.authoritative_identifier}"


def _renew(order: Order) -> str:
    job = lifecycle.renew(
        record=order.target, actor=order.actor, reason=order.reason, idempotency_key=order.key, now=order.now
    )
    return f"Job {job.pk} renews {_name(order.target)}; the present one works until the new one is in use."


def _install(order: Order) -> str:
    job = lifecycle.install(
        record=order.target, actor=order.actor, reason=order.reason, idempotency_key=order.key, now=order.now
    )
    return f"Job {job.pk} delivers {_name(order.target)} again."


def _deactivate(order: Order) -> str:
    lifecycle.deactivate(
        record=order.target,
        actor=order.actor,
        reason=order.reason,
        force=order.values["force"],
        now=order.now,
    )
    return f"From now on {_name(order.target)} is refused; you can reactivate it."


def _reactivate(order: Order) -> str:
    lifecycle.reactivate(record=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"From now on {_name(order.target)} is accepted; it becomes active when it is next seen in use."


def _revoke(order: Order) -> str:
    lifecycle.revoke(
        record=order.target,
        actor=order.actor,
        reason=order.reason,
        revocation_reason=order.values["revocation_reason"],
        now=order.now,
    )
    return f"Revoked {_name(order.target)}: our doors refuse it now, and the CA is being told."


def _delete(order: Order) -> str:
    lifecycle.delete(
        record=order.target,
        actor=order.actor,
        reason=order.reason,
        force=order.values["force"],
        now=order.now,
    )
    return f"Deleted {_name(order.target)}; its record and history stay for the audit."


for verb in (
    Verb("renew", "autorenew", _renew),
    Verb("install", "move_to_inbox", _install),
    Verb("deactivate", "pause_circle", _deactivate, ForceForm),
    Verb("reactivate", "play_circle", _reactivate),
    Verb("revoke", "gpp_bad", _revoke, RevokeForm),
    Verb("delete", "delete", _delete, ForceForm),
):
    record_verbs.register(verb)
