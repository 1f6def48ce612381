"""The verbs of a job: run it now, cancel it."""

from inventory.admin.verbs import Order, Verb, job_verbs
from inventory.services import jobs


def _run_now(order: Order) -> str:
    jobs.run_now(job=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"Job {order.target.pk} is taken up as soon as a worker is free."


def _cancel(order: Order) -> str:
    jobs.cancel(job=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"Job {order.target.pk} is cancelled."


for verb in (
    Verb("run_now", "play_arrow", _run_now),
    Verb("cancel", "cancel", _cancel),
):
    job_verbs.register(verb)
