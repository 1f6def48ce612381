"""`manage.py provisioning`: start cases for a cohort or a file, see how they stand, and act on one."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from inventory.actors import Actor
from inventory.errors import InventoryError
from inventory.words import counted
from provisioning.choices import CaseState, PathKey
from provisioning.freshness import standing
from provisioning.models import ProvisioningCase
from provisioning.services import cases, lifecycle, many, offered, ownership
from provisioning.services.prerequisites import judge

SHOWN = 20
VERBS: dict[str, Callable[..., ProvisioningCase]] = {
    "deliver": cases.deliver,
    "retry": cases.retry,
    "block": cases.block,
    "unblock": cases.unblock,
    "cancel": cases.cancel,
}
"""What is done with one case."""


class Command(BaseCommand):
    help = "Provision vehicles and EVSEs: start cases, say how they stand and why, and act on one of them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("verb", choices=["start", "status", "why", "confirm", *VERBS, "matrix"])
        parser.add_argument(
            "target", nargs="?", default="", help="the id of a case; for status and why also an identifier"
        )
        parser.add_argument("--cohort", default="", help="start: for every member of it")
        parser.add_argument("--file", default="", help="start: a CSV file with the columns identifier, slot and pcid")
        parser.add_argument("--purpose", default="", help="start: the key of the purpose, as iso15118_contract")
        parser.add_argument("--path", default="", help=f"start: by which way: {', '.join(PathKey.values)}")
        parser.add_argument("--prerequisite", default="", help="confirm: the key of what is confirmed")
        parser.add_argument("--revoked", action="store_true", help="block: for good, not only suspended")
        parser.add_argument(
            "--as", dest="user", default="", metavar="USER", help="who does it; their permissions count"
        )
        parser.add_argument("--reason", default="", help="why, for the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._handle(options)
        except InventoryError as error:
            raise CommandError(str(error)) from None

    def _handle(self, options: dict[str, Any]) -> None:
        verb = options["verb"]
        if verb == "start":
            self._start(options)
        elif verb == "status":
            self._status(options["target"])
        elif verb == "why":
            self._why(options["target"])
        elif verb == "matrix":
            self.stdout.write(ownership.as_csv(), ending="")
        else:
            self._act(verb, options)

    def _start(self, options: dict[str, Any]) -> None:
        if bool(options["cohort"]) == bool(options["file"]):
            raise CommandError("Say for whom: either --cohort NAME or --file FILE.")
        wanted = many.of_cohort(options["cohort"]) if options["cohort"] else many.of_file(_text(options["file"]))
        actor, counts = _actor(options), Counter[str]()
        for one in many.start_each(
            wanted, purpose=options["purpose"], path=options["path"], actor=actor, reason=options["reason"]
        ):
            if one.case is None:
                counts["refused"] += 1
                self.stderr.write(f"{one.wanted.identifier}: {one.problem}")
            else:
                counts[one.case.state] += 1
                self.stdout.write(
                    f"{one.wanted.identifier}: case {one.case.pk}, {one.case.get_state_display().lower()}"
                )
        started = sum(counts.values()) - counts["refused"]
        self.stdout.write(f"{counted(started, 'case')} started, {counts['refused']} refused.")

    def _status(self, target: str) -> None:
        if target:
            self._show(_case(target))
            return
        for state in CaseState:
            number = ProvisioningCase.objects.filter(state=state, superseded_at__isnull=True).count()
            if number:
                self.stdout.write(f"{number:>8,}  {state.label}")
        for case in ProvisioningCase.objects.open().select_related("identity").order_by("-pk")[:SHOWN]:
            who, now = case.identity.authoritative_identifier, case.get_state_display().lower()
            self.stdout.write(f"{case.pk:>8}  {who}: {now}. {case.why}")

    def _show(self, case: ProvisioningCase) -> None:
        write, now = self.stdout.write, timezone.now()
        what = f"{case.get_purpose_display()}{f' ({case.slot})' if case.slot else ''}"
        write(
            f"Case {case.pk} of {case.identity.authoritative_identifier}, {what}, by {case.get_path_display()}: "
            f"{case.get_state_display().lower()}"
        )
        for item in case.evidence.order_by("-pk")[:SHOWN]:
            stands = standing(item, now)
            write(f"  {item.observed_at:%Y-%m-%d %H:%M} UTC  {item}: {stands.standing.label.lower()}. {item.summary}")

    def _why(self, target: str) -> None:
        case, now = _case(target), timezone.now()
        authority, contact = lifecycle.whom_to_ask(case)
        if case.state == CaseState.ACTIVE:
            self.stdout.write(f"Case {case.pk} is active.")
            return
        self.stdout.write(f"Case {case.pk} is {case.get_state_display().lower()}: {case.why}")
        for item in judge(case, now) if case.state == CaseState.PREREQUISITE else []:
            self.stdout.write(f"  [{'x' if item.met else ' '}] {item.key}: {item.why}")
        for note in offered.notes_of(case):
            self.stdout.write(f"  {note}")
        self.stdout.write(f"  Responsible: {authority}{f', {contact}' if contact else ''}")

    def _act(self, verb: str, options: dict[str, Any]) -> None:
        case, actor = _case(options["target"]), _actor(options)
        if verb == "confirm":
            case = cases.confirm(case=case, prerequisite=options["prerequisite"], actor=actor, reason=options["reason"])
        else:
            more = {"revoked": options["revoked"]} if verb == "block" else {}
            case = VERBS[verb](case=case, actor=actor, reason=options["reason"], **more)
        self.stdout.write(f"Case {case.pk} is {case.get_state_display().lower()}. {case.why}")


def _actor(options: dict[str, Any]) -> Actor:
    user = User.objects.filter(username=options["user"]).first()
    if user is None:
        raise CommandError(f"There is no user {options['user']!r}; name one with --as.")
    return Actor.person(user)


def _case(target: str) -> ProvisioningCase:
    """By its id; or the newest of the identity with this identifier."""
    related = ProvisioningCase.objects.select_related("identity")
    found = related.filter(identity__authoritative_identifier=target).order_by("-pk").first()
    if found is None and target.isascii() and target.isdigit() and len(target) < 19:
        found = related.filter(pk=int(target)).first()
    if found is None:
        raise CommandError(f"There is no provisioning case {target!r}; give its id, or the identifier of its identity.")
    return found


def _text(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"The file {name} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise CommandError(f"The file {name} is not UTF-8; save it so.") from None
