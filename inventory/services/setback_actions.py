"""What an operator does with work that was set aside: have it tried again before its back-off is over."""

from datetime import datetime
from typing import Final

from django.utils import timezone

from bfcerts.console.presentation import spoken
from inventory.actors import Actor
from inventory.choices import SecurityCategory, SecuritySource, Severity
from inventory.errors import TransitionRefusedError
from inventory.models import Setback
from inventory.services.actions import AvailableAction, offered
from inventory.services.command import command
from inventory.services.security_events import record_security_event
from inventory.words import actor_words

RETRY: Final = "inventory.retry_setback"


def name_of(setback: Setback) -> str:
    """What was set aside, in words: “Migration start 17”."""
    return f"{spoken(setback.work.replace('-', '_'))} {setback.key}"


def for_setback(setback: Setback, actor: Actor, now: datetime) -> list[AvailableAction]:
    """The verb of a piece of work."""
    return [
        offered(
            "try_now",
            "Try now",
            f"{name_of(setback)} is tried again within seconds instead of after its back-off. If it fails again, it "
            f"is set aside anew, and longer than before. Mend the cause first: {setback.error}",
            actor=actor,
            permission=RETRY,
            obstacle=_why_not(setback, now),
        )
    ]


def try_now(*, setback: Setback, actor: Actor, reason: str, now: datetime | None = None) -> Setback:
    """End the back-off of a piece of work. Its duty takes it up in its next round, and counts on if it fails again.

    :raises TransitionRefusedError: when it is due already, or is set aside no more.
    """
    now = now or timezone.now()
    with command(actor, RETRY, reason):
        locked = Setback.objects.select_for_update(of=("self",)).filter(pk=setback.pk).first()
        if locked is None:
            raise TransitionRefusedError(f"{name_of(setback)} is set aside no more; there is nothing to try again.")
        if why_not := _why_not(locked, now):
            raise TransitionRefusedError(why_not)
        locked.until = now
        locked.save(update_fields=["until"])
        identity = locked.identity
        record_security_event(
            "WorkTriedAgain",
            category=SecurityCategory.OTHER,
            severity=Severity.INFO,
            source=SecuritySource.OPERATOR,
            message=f"{name_of(locked)} is tried again now, as {actor_words(actor.name)} says: {reason.strip()}",
            now=now,
            identity=identity,
            station_id=identity.authoritative_identifier[:64] if identity else "",
            payload={"actor": actor.name, "reason": reason.strip(), "setback": locked.pk, "tries": locked.tries},
        )
    return locked


def _why_not(setback: Setback, now: datetime) -> str:
    if setback.until > now:
        return ""
    return f"{name_of(setback)} waits no longer: a worker tries it again in its next round."
