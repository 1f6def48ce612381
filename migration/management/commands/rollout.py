"""`manage.py rollout`: a migration to Profile 3 from the plan to the last charger."""

import sys
from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from inventory.actors import Actor
from inventory.errors import InventoryError
from inventory.models import ManagedIdentity
from migration.models import Breaker, MigrationRollout, Wave
from migration.services import lowering, rollouts
from migration.services.why import why
from migration.states import CaseState, RolloutState

SHOWN = 20
VERBS: dict[str, Callable[..., Any]] = {
    "pause": rollouts.pause,
    "resume": rollouts.resume,
    "stop": rollouts.stop,
    "next": rollouts.start_next,
    "retry": rollouts.retry_failed,
}
"""What is done with a whole rollout."""


class Command(BaseCommand):
    help = (
        "Take chargers from Profile 2 to mutual TLS in waves. Without a verb, or with “plan”, it prints what would be "
        "done and the digest of that plan; “apply DIGEST”, or --apply DIGEST, does exactly that."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "verb",
            nargs="?",
            default="plan",
            choices=["plan", "apply", "status", "why", "rollback", *VERBS],
            help="what to do; a plan where nothing is said",
        )
        parser.add_argument(
            "target",
            nargs="?",
            default="",
            help="a digest to apply; the id of a rollout; a charge point id for why",
        )
        parser.add_argument("--cohort", action="append", default=[], help="a wave of a plan; repeat it, in order")
        parser.add_argument(
            "--param",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="another parameter of the plan, as per_minute=600",
        )
        parser.add_argument("--wave", type=int, help="which wave of the rollout to roll back, by its position")
        parser.add_argument("--apply", metavar="DIGEST", default="", help="apply the plan with this digest")
        parser.add_argument("--as", dest="user", metavar="USER", help="who does it; their permissions count")
        parser.add_argument("--reason", default="", help="why, for the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._handle(options)
        except InventoryError as error:
            raise CommandError(str(error)) from None

    def _handle(self, options: dict[str, Any]) -> None:
        verb = options["verb"]
        if options["apply"]:
            self._apply(options["apply"], options)
        elif verb == "plan":
            self._plan(options)
        elif verb == "apply":
            self._apply(options["target"], options)
        elif verb == "status":
            self._status(options["target"])
        elif verb == "why":
            self._why(options["target"])
        else:
            self._act(verb, options)

    def _plan(self, options: dict[str, Any]) -> None:
        cohorts = [f"cohorts={name}" for name in options["cohort"]]
        call_command(
            "plan",
            "migration",
            param=[*cohorts, *options["param"]],
            user=options["user"],
            reason=options["reason"],
            stdout=self.stdout,
            stderr=self.stderr,
        )

    def _apply(self, digest: str, options: dict[str, Any]) -> None:
        if not digest:
            raise CommandError("Name the digest of the plan to apply: manage.py rollout apply DIGEST.")
        call_command(
            "plan",
            "migration",
            apply=digest,
            user=options["user"],
            reason=options["reason"],
            stdout=self.stdout,
            stderr=self.stderr,
        )

    def _status(self, target: str) -> None:
        if target:
            self._show(_rollout(target))
            return
        newest = MigrationRollout.objects.order_by("-pk")[:SHOWN]
        for rollout in newest:
            self.stdout.write(f"{rollout.pk:>6}  {rollout.get_state_display():<10} {rollout.name}")
        if not newest:
            self.stdout.write("There is no rollout yet: manage.py rollout plan --cohort NAME --as USER --reason WHY")

    def _show(self, rollout: MigrationRollout) -> None:
        write = self.stdout.write
        write(f"Rollout {rollout.pk}, “{rollout.name}”: {rollout.get_state_display().lower()}")
        if rollout.note:
            write(f"  {rollout.note}")
        for wave in rollout.waves.select_related("cohort").order_by("position"):
            write(f"  Wave {wave.position}, cohort {wave.cohort}: {wave.get_state_display().lower()}. {wave.verdict}")
        standing = rollouts.standing(rollout)
        self._bar(standing.get(CaseState.ACTIVE, 0), sum(standing.values()))
        for state in CaseState:
            if standing.get(state):
                write(f"  {standing[state]:>8,}  {state.label}")
        for breaker in Breaker.objects.filter(rollout=rollout, closed_at__isnull=True).select_related("family"):
            write(f"  Stopped: {breaker}. {breaker.why}")
        for case in rollouts.stuck(rollout).order_by("pk")[:SHOWN]:
            write(f"  {case.identity.authoritative_identifier}: {case.why}")

    def _bar(self, done: int, everybody: int) -> None:
        """How far it is, on a terminal."""
        if not sys.stdout.isatty() or not everybody:
            return
        filled = 40 * done // everybody
        self.stdout.write(f"  {'█' * filled}{'·' * (40 - filled)} {done:,} of {everybody:,} active")

    def _why(self, identifier: str) -> None:
        identity = ManagedIdentity.objects.select_related("family").filter(authoritative_identifier=identifier).first()
        if identity is None:
            raise CommandError(f"There is no charger {identifier!r}.")
        answer = why(identity, timezone.now())
        if answer is None:
            self.stdout.write(f"{identifier} is active on Profile 3, or is no charger.")
        else:
            self.stdout.write(f"{identifier}: {answer.sentence} [{answer.code}]\nNext: {answer.what_next}")

    def _act(self, verb: str, options: dict[str, Any]) -> None:
        user = User.objects.filter(username=options["user"] or "").first()
        if user is None:
            raise CommandError(f"There is no user {options['user'] or ''!r}; name one with --as.")
        rollout, actor = _rollout(options["target"]), Actor.person(user)
        if verb == "rollback":
            self._roll_back(rollout, actor, options)
            return
        VERBS[verb](rollout=rollout, actor=actor, reason=options["reason"], now=timezone.now())
        rollout.refresh_from_db()
        self._show(rollout)

    def _roll_back(self, rollout: MigrationRollout, actor: Actor, options: dict[str, Any]) -> None:
        wave = Wave.objects.filter(rollout=rollout, position=options["wave"] or 0).select_related("rollout").first()
        if wave is None:
            raise CommandError(f"Name the wave of rollout {rollout.pk} with --wave, by its position.")
        rollouts.roll_back(wave=wave, actor=actor, reason=options["reason"], now=timezone.now())
        staying = lowering.cannot_go_back(wave)
        self.stdout.write(f"Wave {wave.position} is rolled back, one charger after the other.")
        for case in staying.order_by("pk")[:SHOWN]:
            self.stdout.write(f"  {lowering.why_it_cannot(case)}")
        if (more := staying.count() - SHOWN) > 0:
            self.stdout.write(f"  And {more:,} more stay on Profile 3.")


def _rollout(target: str) -> MigrationRollout:
    """The rollout with this id; the newest that is not over where none is named."""
    if target.isdigit():
        found = MigrationRollout.objects.filter(pk=int(target)).first()
    else:
        over = (RolloutState.STOPPED, RolloutState.COMPLETE)
        found = MigrationRollout.objects.exclude(state__in=over).order_by("-pk").first() if not target else None
    if found is None:
        raise CommandError(f"There is no rollout {target!r}; manage.py rollout status lists them by their ids.")
    return found
