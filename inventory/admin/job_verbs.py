"""The verbs of a job: start its work again, run it now, cancel it."""

from typing import Any

from django import forms

from inventory.admin.verbs import ActionForm, Order, Verb, job_verbs
from inventory.models import CertificateJob
from inventory.purposes import BACKEND_SERVER
from inventory.services import job_actions, jobs


class RunNowForm(ActionForm):
    """Whether a server certificate is made although chargers could not reconnect."""

    override_forecast = forms.BooleanField(
        required=False,
        label="Although chargers could not reconnect",
        help_text="Needs a permission of its own. What could happen is the last outcome of the job.",
    )

    def __init__(self, *args: Any, target: CertificateJob, **kwargs: Any) -> None:
        super().__init__(*args, target=target, **kwargs)
        if target.purpose != BACKEND_SERVER.key:
            del self.fields["override_forecast"]


def _start_again(order: Order) -> str:
    job = job_actions.start_again(
        job=order.target, actor=order.actor, reason=order.reason, idempotency_key=order.key, now=order.now
    )
    return f"Job {job.pk} does the same work anew for {order.target.identity.authoritative_identifier}."


def _run_now(order: Order) -> str:
    override = bool(order.values.get("override_forecast"))
    jobs.run_now(job=order.target, actor=order.actor, reason=order.reason, override_forecast=override, now=order.now)
    return f"Job {order.target.pk} is taken up as soon as a worker is free."


def _cancel(order: Order) -> str:
    jobs.cancel(job=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"Job {order.target.pk} is cancelled."


for verb in (
    Verb("start_again", "restart_alt", _start_again),
    Verb("run_now", "play_arrow", _run_now, RunNowForm),
    Verb("cancel", "cancel", _cancel),
):
    job_verbs.register(verb)
