"""The verbs of a job: start its work again, run it now, cancel it."""

from inventory.admin.verbs import Order, Verb, job_verbs
from inventory.services import job_actions, jobs


def _start_again(order: Order) -> str:
    job = job_actions.start_again(
        job=order.target, actor=order.actor, reason=order.reason, idempotency_key=order.key, now=order.now
    )
    return f"Job {job.pk} does the same work anew for {order.target.identity.authoritative_identifier}."


def _run_now(order: Order) -> str:
    jobs.run_now(job=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"Job {order.target.pk} is taken up as soon as a worker is free."


def _cancel(order: Order) -> str:
    jobs.cancel(job=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"Job {order.target.pk} is cancelled."


for verb in (
    Verb("start_again", "restart_alt", _start_again),
    Verb("run_now", "play_arrow", _run_now),
    Verb("cancel", "cancel", _cancel),
):
    job_verbs.register(verb)
