"""`manage.py plan`: look at a bulk action, and apply exactly what was looked at."""

import sys
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from bfcerts.console.presentation import exact_span
from inventory.actors import Actor
from inventory.choices import PlanState
from inventory.errors import InventoryError
from inventory.models import Plan, PlanTarget
from inventory.services import plans
from inventory.services.plans.kinds import words_for
from inventory.words import actor_words, agreeing, part_of

SHOWN = 10
"""Targets that are named; the console and the API have all of them."""


class Command(BaseCommand):
    help = (
        "Plan a bulk action and print what it would do and to whom, with its digest. Nothing is done unless --apply "
        "names that digest: then the plan is applied, if nothing has changed since."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("kind", nargs="?", help=f"one of {', '.join(kind.key for kind in plans.kinds())}")
        parser.add_argument(
            "--param",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="a parameter of the kind; named twice, it is a list",
        )
        parser.add_argument("--apply", metavar="DIGEST", default="", help="apply the plan with this digest")
        parser.add_argument("--as", dest="user", metavar="USER", help="who does it; their permissions count")
        parser.add_argument("--reason", default="", help="why, for the audit trail")
        parser.add_argument("--title", default="", help="what the plan is called; made from its parameters where empty")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["user"] or "").first()
        if user is None:
            raise CommandError(f"There is no user {options['user'] or ''!r}; name one with --as.")
        actor = Actor.person(user)
        try:
            if options["apply"]:
                self._apply(options, actor)
            else:
                self._plan(options, actor)
        except InventoryError as error:
            raise CommandError(str(error)) from None

    def _plan(self, options: dict[str, Any], actor: Actor) -> None:
        if not options["kind"]:
            raise CommandError(f"Name a kind of plan: {', '.join(kind.key for kind in plans.kinds())}.")
        now = timezone.now()
        plan = plans.start(
            kind=options["kind"],
            parameters=_parameters(options["param"]),
            actor=actor,
            reason=options["reason"],
            now=now,
            title=options["title"],
        )
        everybody = plans.kind_named(plan.kind).candidates(plan.parameters).count()
        plan = plans.prepare(plan=plan, now=now, progress=lambda done: self._progress(done, everybody))
        self._progress(everybody, everybody, last=True)
        self._show(plan)

    def _apply(self, options: dict[str, Any], actor: Actor) -> None:
        digest = options["apply"].strip().lower()
        plan = Plan.objects.filter(digest=digest).exclude(digest="").order_by("-pk").first()
        if plan is None:
            raise CommandError(
                f"There is no plan with the digest {digest}. Make one first: manage.py plan KIND --param NAME=VALUE."
            )
        if options["kind"] and options["kind"] != plan.kind:
            raise CommandError(f"The plan with this digest is a {plan.kind}, not a {options['kind']}.")
        now, everybody = timezone.now(), plan.candidates
        before = plan.state == PlanState.APPLIED
        applied = plans.apply(plan=plan, digest=digest, actor=actor, reason=options["reason"], now=now)
        if applied.state == PlanState.APPLYING:
            applied = plans.check(plan=applied, now=now, progress=lambda done: self._progress(done, everybody))
            self._progress(everybody, everybody, last=True)
        if before and applied.applied_at is not None:
            who, when = actor_words(applied.applied_by), f"{applied.applied_at:%Y-%m-%d %H:%M} UTC"
            self.stdout.write(
                f"Plan {applied.pk}, “{applied}”, was applied before, by {who} at {when}; nothing was done."
            )
            return
        self.stdout.write(f"Plan {applied.pk}, “{applied}”: {applied.get_state_display().lower()}.")

    def _progress(self, done: int, everybody: int, *, last: bool = False) -> None:
        """A bar on a terminal; nothing where the output is kept."""
        if not sys.stderr.isatty() or not everybody:
            return
        width = 40
        filled = width * min(done, everybody) // everybody
        bar = "█" * filled + "·" * (width - filled)
        self.stderr.write(f"\r{bar} {done:,} of {everybody:,}", ending="\n" if last else "")

    def _show(self, plan: Plan) -> None:
        kind = plans.kind_named(plan.kind)
        write = self.stdout.write
        write(f"Plan {plan.pk}: {plan}")
        write(f"  {part_of(plan.included, plan.candidates, 'target')} {agreeing(plan.included, 'is', 'are')} included")
        for code, number in plan.steps.items():
            write(f"    {number:>8,}  {words_for(kind, code)}")
        if plan.excluded:
            left_out = sum(plan.excluded.values())
            write(f"  {left_out:,} {agreeing(left_out, 'is', 'are')} excluded")
        for code, number in plan.excluded.items():
            example = PlanTarget.objects.filter(plan=plan, reason_code=code).order_by("position").first()
            write(f"    {number:>8,}  {words_for(kind, code)}{f'; for example: {example.reason}' if example else ''}")
        for name, title in (("families", "Families"), ("sites", "Sites")):
            for entry in plan.risk[name][:SHOWN]:
                of = f" of {entry['chargers']:,}" if entry["chargers"] is not None else ""
                write(
                    f"  {title[:-3] + 'y' if name == 'families' else 'Site'} {entry['name'] or '(none)'}: "
                    f"{entry['included']:,}{of}"
                )
        if plan.expected_duration is not None:
            write(f"  Expected to take {exact_span(plan.expected_duration)}. {plan.expected_basis}".rstrip())
        write(f"  Can be applied until {plan.expires_at:%Y-%m-%d %H:%M} UTC")
        write(f"  Digest {plan.digest}")
        write(f"Nothing was done. To do it: manage.py plan --apply {plan.digest} --as USER --reason WHY")


def _parameters(pairs: list[str]) -> dict[str, Any]:
    found: dict[str, list[str]] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name.strip():
            raise CommandError(f"{pair!r} is no parameter; write NAME=VALUE.")
        found.setdefault(name.strip(), []).append(value.strip())
    return {name: values if len(values) > 1 else values[0] for name, values in found.items()}
