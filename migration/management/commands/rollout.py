"""`manage.py rollout`: a migration to Profile 3 from the plan to the last charger."""

import sys
from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet
from django.utils import timezone

from inventory.actors import Actor
from inventory.choices import SubjectKind
from inventory.errors import InventoryError
from inventory.models import ManagedIdentity
from inventory.words import counted
from migration.models import Breaker, MigrationCase, MigrationRollout, Wave
from migration.services import breakers, lowering, offered, rollouts
from migration.services.why import not_moving, why
from migration.states import CaseState, RolloutState, WaveState

SHOWN = 20
NOW = "now"
"""What --apply says where no digest is named."""
VERBS: dict[str, Callable[..., Any]] = {
    "pause": rollouts.pause,
    "resume": rollouts.resume,
    "stop": rollouts.stop,
    "next": rollouts.start_next,
    "retry": rollouts.retry_failed,
}
"""What is done with a whole rollout."""
CASE_VERBS: dict[str, tuple[Callable[..., MigrationCase], str]] = {
    "release": (rollouts.release, "is released"),
    "except": (rollouts.approve_exception, "stays as it is"),
    "quarantine": (rollouts.quarantine, "is in quarantine"),
    "bring-back": (rollouts.roll_back_case, "is brought back to Profile 2"),
    "cancel": (rollouts.cancel, "is out of the migration"),
}
"""What is done with the migration of one charger, and what is said of the charger then."""


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
            choices=[
                "plan",
                "apply",
                "status",
                "why",
                "rollback",
                *VERBS,
                "quarantined",
                *CASE_VERBS,
                "breakers",
                "close",
            ],
            help="what to do; a plan where nothing is said",
        )
        parser.add_argument(
            "target",
            nargs="?",
            default="",
            help=(
                "a digest to apply; the id of a rollout; a charge point id for why, release, except, quarantine, "
                "bring-back and cancel; the id of a breaker for close"
            ),
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
        parser.add_argument(
            "--apply",
            nargs="?",
            const=NOW,
            metavar="DIGEST",
            default="",
            help="apply the plan with this digest; with rollback, alone: do it, after a look at what it says without",
        )
        parser.add_argument("--as", dest="user", metavar="USER", help="who does it; their permissions count")
        parser.add_argument("--reason", default="", help="why, for the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._handle(options)
        except InventoryError as error:
            raise CommandError(str(error)) from None

    def _handle(self, options: dict[str, Any]) -> None:
        verb = options["verb"]
        if verb == "rollback":
            self._roll_back(options)
        elif options["apply"]:
            self._apply("" if options["apply"] == NOW else options["apply"], options)
        elif verb == "plan":
            self._plan(options)
        elif verb == "apply":
            self._apply(options["target"], options)
        elif verb == "status":
            self._status(options["target"])
        elif verb == "why":
            self._why(options["target"])
        elif verb == "quarantined":
            self._quarantined(options["target"])
        elif verb == "breakers":
            self._breakers()
        elif verb == "close":
            self._close(options)
        elif verb in CASE_VERBS:
            self._act_on_charger(verb, options)
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
        begun = MigrationRollout.objects.filter(plan__digest=digest.strip().lower()).order_by("-pk").first()
        if begun is not None:
            self.stdout.write(
                f"The plan began rollout {begun.pk}, “{begun.name}”: {begun.get_state_display().lower()}. "
                f"Next: manage.py rollout status {begun.pk}"
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
            write(f"  Breaker {breaker.pk}, stopped: {breaker}. {breaker.why}")
        stuck = rollouts.stuck(rollout).order_by("pk")
        for case in stuck[:SHOWN]:
            write(f"  {case.identity.authoritative_identifier}: {case.why}")
        if (more := stuck.count() - SHOWN) > 0:
            write(f"  And {more:,} more in quarantine: manage.py rollout quarantined {rollout.pk}")

    def _bar(self, done: int, everybody: int) -> None:
        """How far it is, on a terminal."""
        if not sys.stdout.isatty() or not everybody:
            return
        filled = 40 * done // everybody
        self.stdout.write(f"  {'█' * filled}{'·' * (40 - filled)} {done:,} of {everybody:,} active")

    def _why(self, identifier: str) -> None:
        identity = _charger(identifier, "why")
        now = timezone.now()
        answer = why(identity, now)
        if answer is None:
            self.stdout.write(not_moving(identity))
            return
        # Most sentences name their charger already.
        named = answer.sentence.startswith(identifier)
        self.stdout.write(f"{'' if named else f'{identifier}: '}{answer.sentence} [{answer.code}]")
        self.stdout.write(f"Next: {answer.what_next}")

    def _quarantined(self, target: str) -> None:
        """Everybody in quarantine, of one rollout or of all, however many they are."""
        found = MigrationCase.objects.filter(state=CaseState.QUARANTINE).select_related("identity", "family")
        if target:
            found = found.filter(wave__rollout=_rollout(target))
        number = 0
        for case in found.order_by("pk").iterator(chunk_size=1_000):
            number += 1
            since = f"{case.entered_state_at:%Y-%m-%d %H:%M} UTC"
            self.stdout.write(
                f"{case.identity.authoritative_identifier}  {case.family or '-'}  since {since}: {case.why}"
            )
        if not number:
            self.stdout.write("No charger is in quarantine.")
            return
        self.stdout.write(
            "Next: manage.py rollout release, except, bring-back or cancel CHARGER --as USER --reason WHY"
        )

    def _breakers(self) -> None:
        opened = Breaker.objects.filter(closed_at__isnull=True).select_related("family").order_by("pk")
        for breaker in opened:
            self.stdout.write(
                f"{breaker.pk:>6}  {breaker}, since {breaker.opened_at:%Y-%m-%d %H:%M} UTC: {breaker.why}"
            )
        if not opened:
            self.stdout.write("No family or site is stopped.")

    def _close(self, options: dict[str, Any]) -> None:
        target = options["target"]
        breaker = Breaker.objects.filter(pk=int(target)).select_related("family").first() if target.isdigit() else None
        if breaker is None:
            raise CommandError(f"There is no breaker {target!r}; manage.py rollout breakers lists the open ones by id.")
        breakers.close(breaker=breaker, actor=_actor(options), reason=options["reason"], now=timezone.now())
        self.stdout.write(
            f"{breaker}: its chargers are moved again. Release those in quarantine: manage.py rollout quarantined"
        )

    def _act_on_charger(self, verb: str, options: dict[str, Any]) -> None:
        carry_out, told = CASE_VERBS[verb]
        actor, identity = _actor(options), _charger(options["target"], verb)
        cases = MigrationCase.objects.filter(identity=identity).select_related("identity", "wave__rollout")
        # The live one says how things stand; an exception has ended as one, and can still be cancelled.
        case = cases.live().first() or cases.order_by("-pk").first()
        if case is None:
            raise CommandError(
                f"{identity.authoritative_identifier} is in no migration. manage.py rollout why "
                f"{identity.authoritative_identifier} says how it stands."
            )
        # As things are before: a complete rollout runs again by the release.
        meaning = f" {offered.what_release_means(case)}" if verb == "release" else ""
        carry_out(case=case, actor=actor, reason=options["reason"], now=timezone.now())
        self.stdout.write(f"{identity.authoritative_identifier} {told}.{meaning}")

    def _act(self, verb: str, options: dict[str, Any]) -> None:
        actor, rollout = _actor(options), _rollout(options["target"])
        VERBS[verb](rollout=rollout, actor=actor, reason=options["reason"], now=timezone.now())
        rollout.refresh_from_db()
        self._show(rollout)

    def _roll_back(self, options: dict[str, Any]) -> None:
        """Say who would go back and who stays; with --apply, roll the wave back."""
        actor, rollout = _actor(options), _rollout(options["target"])
        wave = Wave.objects.filter(rollout=rollout, position=options["wave"] or 0).select_related("rollout").first()
        if wave is None:
            raise CommandError(f"Name the wave of rollout {rollout.pk} with --wave, by its position.")
        if options["apply"] not in ("", NOW):
            raise CommandError("A roll-back has no digest: give --apply alone.")
        going, staying = lowering.would_go_back(wave), lowering.cannot_go_back(wave)
        self._list(f"Back to Profile 2: {counted(going.count(), 'charger')}", going, _goes_back)
        self._list(f"Stay on Profile 3: {counted(staying.count(), 'charger')}", staying, lowering.why_it_cannot)
        if options["apply"]:
            rollouts.roll_back(wave=wave, actor=actor, reason=options["reason"], now=timezone.now())
            self.stdout.write(f"Wave {wave.position} is rolled back, one charger after the other.")
            return
        if wave.state == WaveState.ROLLED_BACK:
            self.stdout.write(f"{wave} was rolled back already.")
            return
        self.stdout.write(
            "Nothing is changed yet, and it cannot be undone. To do it: manage.py rollout rollback "
            f"{rollout.pk} --wave {wave.position} --apply --as {options['user']} --reason WHY"
        )

    def _list(self, title: str, found: QuerySet[MigrationCase], sentence: Callable[[MigrationCase], str]) -> None:
        number = found.count()
        self.stdout.write(f"{title}.")
        for case in found.order_by("pk")[:SHOWN]:
            self.stdout.write(f"  {sentence(case)}")
        if number > SHOWN:
            self.stdout.write(f"  And {number - SHOWN:,} more.")


def _goes_back(case: MigrationCase) -> str:
    who = case.identity.authoritative_identifier
    obstacle = lowering.why_it_cannot(case) if case.state == CaseState.ACTIVE else ""
    return f"{who} is {case.get_state_display().lower()}" + (f". For now it cannot: {obstacle}" if obstacle else "")


def _actor(options: dict[str, Any]) -> Actor:
    user = User.objects.filter(username=options["user"] or "").first()
    if user is None:
        raise CommandError(f"There is no user {options['user'] or ''!r}; name one with --as.")
    return Actor.person(user)


def _charger(identifier: str, verb: str) -> ManagedIdentity:
    if not identifier:
        raise CommandError(f"Name the charger: manage.py rollout {verb} CHARGER.")
    found = ManagedIdentity.objects.select_related("family").filter(authoritative_identifier=identifier)
    # Identifiers are unique within a kind; a charger is meant where there is one.
    identity = found.filter(kind=SubjectKind.CHARGER).first() or found.first()
    if identity is None:
        raise CommandError(f"There is no charger {identifier!r}.")
    return identity


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
