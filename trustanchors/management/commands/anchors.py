"""`manage.py anchors`: trust anchors from the command line, with the same checks as admin and API."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Model

from inventory.actors import Actor
from inventory.errors import InventoryError
from inventory.models import Cohort
from inventory.purposes import CHARGER_IDENTITY
from inventory.words import part_of
from trustanchors.models import BundleRollout, TrustAnchor, TrustAnchorBundle
from trustanchors.services import anchors, bundles, control, releasing, withdrawal
from trustanchors.services.releasing import Pace

LONGEST = 65536
NEWEST = 50
"""Rollouts that are listed."""


class Command(BaseCommand):
    help = (
        "Trust anchors: `list`, `add FILE`, `bundle NUMBER…` (anchors in their order), `preview` and `release NUMBER…` "
        "(bundles, one of each purpose) with --cohort, `withdraw NUMBER`, and with the number of a rollout `status`, "
        "`pause`, `resume`, `stop`, `retry` and `roll-back`."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("verb", choices=sorted(_VERBS))
        parser.add_argument("subjects", nargs="*", help="a file, or the numbers of anchors, bundles or a rollout")
        parser.add_argument(
            "--as", dest="user", required=True, metavar="USER", help="who does it; their permissions count"
        )
        parser.add_argument("--reason", default="", help="why, for the audit trail")
        parser.add_argument("--purpose", default=CHARGER_IDENTITY.key)
        parser.add_argument("--name", default="", help="a name for people, for an anchor")
        parser.add_argument("--note", default="", help="of a bundle")
        parser.add_argument("--cohort", default="", help="the name of a cohort")
        parser.add_argument("--threshold", type=int, default=Pace().threshold_percent, metavar="PERCENT")
        parser.add_argument("--concurrency", type=int, default=Pace().concurrency)
        parser.add_argument("--rate", type=int, default=Pace().rate_per_minute, metavar="PER_MINUTE")
        parser.add_argument("--failure-limit", type=int, default=Pace().failure_limit)
        parser.add_argument("--emergency", action="store_true", help="withdraw, and delete from the chargers")
        parser.add_argument(
            "--delete-needed", action="store_true", help="in an emergency: delete also what connections rest on"
        )
        parser.add_argument(
            "--override-forecast", action="store_true", help="although chargers could not reconnect (`forecast`)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']!r}; name one with --as.")
        try:
            self.stdout.write(_VERBS[options["verb"]](options, Actor.person(user)))
        except InventoryError as error:
            raise CommandError(str(error)) from None


def _add(options: dict[str, Any], actor: Actor) -> str:
    anchor = anchors.add(
        certificate_pem=_content(options["subjects"]),
        purpose_key=options["purpose"],
        name=options["name"],
        actor=actor,
        reason=options["reason"],
    )
    return f"Anchor {anchor.pk}: {anchor} ({anchor.get_purpose_display()}), SHA-256 {anchor.fingerprint}."


def _bundle(options: dict[str, Any], actor: Actor) -> str:
    bundle = bundles.draft(
        purpose_key=options["purpose"],
        anchors=_numbered(options["subjects"], TrustAnchor, "anchor"),
        note=options["note"],
        actor=actor,
        reason=options["reason"],
    )
    return f"Bundle {bundle.pk}: {bundle} (draft)."


def _preview(options: dict[str, Any], actor: Actor) -> str:
    found = _numbered(options["subjects"], TrustAnchorBundle, "bundle")
    tally = releasing.preview(bundles=found, cohort=_cohort(options["cohort"]), actor=actor)
    lines = [f"{part_of(tally.able, tally.targets, 'charger')} can take the release."]
    lines += [f"{count} {code}: {tally.examples[code]}" for code, count in sorted(tally.codes.items())]
    return "\n".join(lines)


def _release(options: dict[str, Any], actor: Actor) -> str:
    rollouts = releasing.release(
        bundles=_numbered(options["subjects"], TrustAnchorBundle, "bundle"),
        cohort=_cohort(options["cohort"]),
        pace=Pace(
            threshold_percent=options["threshold"],
            concurrency=options["concurrency"],
            rate_per_minute=options["rate"],
            failure_limit=options["failure_limit"],
        ),
        actor=actor,
        reason=options["reason"],
    )
    return "\n".join(f"Rollout {rollout.pk}: {rollout}." for rollout in rollouts)


def _withdraw(options: dict[str, Any], actor: Actor) -> str:
    bundle = withdrawal.withdraw(
        bundle=_one(options["subjects"], TrustAnchorBundle, "bundle"),
        emergency=options["emergency"],
        delete_needed=options["delete_needed"],
        override_forecast=options["override_forecast"],
        actor=actor,
        reason=options["reason"],
    )
    return f"{bundle} is withdrawn; its gates are closed."


def _status(options: dict[str, Any], actor: Actor) -> str:
    actor.require("trustanchors.view_bundlerollout")
    rollout: BundleRollout = _one(options["subjects"], BundleRollout, "rollout")
    lines = [
        f"Rollout {rollout.pk}: {rollout}, {rollout.get_state_display().lower()}. {rollout.outcome}".rstrip(),
        f"Gate {'open' if rollout.gate_open else 'closed'}: {rollout.confirmed} of {rollout.targets} confirmed, "
        f"{rollout.needed} needed; {rollout.failed} failed, {rollout.withdrawn} withdrawn.",
    ]
    for group in rollout.families.select_related("family").order_by("pk"):
        waits = group.halted_by or "waits for its canary"
        how = "stopped" if group.stopped else "goes on" if group.proven_at else waits.rstrip(".")
        lines.append(f"  {group}: {group.confirmed} of {group.targets} confirmed, {group.failed} failed; {how}.")
    return "\n".join(lines)


def _steer(service: Callable[..., BundleRollout]) -> Callable[[dict[str, Any], Actor], str]:
    def steer(options: dict[str, Any], actor: Actor) -> str:
        rollout = service(
            rollout=_one(options["subjects"], BundleRollout, "rollout"), actor=actor, reason=options["reason"]
        )
        return f"Rollout {rollout.pk}: {rollout}, {rollout.get_state_display().lower()}."

    return steer


def _list(options: dict[str, Any], actor: Actor) -> str:
    """The numbers that the other verbs ask for."""
    actor.require("trustanchors.view_trustanchorbundle")
    lines = ["Anchors:"]
    lines += [f"{one.pk:>6}  {one}, {one.get_purpose_display()}" for one in TrustAnchor.objects.order_by("pk")]
    lines += ["Bundles:"]
    lines += [
        f"{one.pk:>6}  {one}, {one.get_state_display().lower()}" for one in TrustAnchorBundle.objects.order_by("pk")
    ]
    lines += ["Rollouts:"]
    newest = BundleRollout.objects.select_related("bundle", "cohort").order_by("-pk")[:NEWEST]
    lines += [f"{one.pk:>6}  {one}, {one.get_state_display().lower()}" for one in newest]
    return "\n".join(lines)


_VERBS: dict[str, Callable[[dict[str, Any], Actor], str]] = {
    "list": _list,
    "add": _add,
    "bundle": _bundle,
    "preview": _preview,
    "release": _release,
    "withdraw": _withdraw,
    "status": _status,
    "pause": _steer(control.pause),
    "resume": _steer(control.resume),
    "stop": _steer(control.stop),
    "retry": _steer(control.retry_failed),
    "roll-back": _steer(releasing.roll_back),
}


def _content(subjects: list[str]) -> str:
    if len(subjects) != 1:
        raise CommandError("Name one file with a CA certificate in PEM.")
    try:
        with Path(subjects[0]).open(encoding="ascii", errors="replace") as file:
            return file.read(LONGEST)
    except OSError as error:
        raise CommandError(f"{subjects[0]} cannot be read: {error.strerror}. Name a file in PEM.") from None


def _numbered(subjects: list[str], model: type[Model], what: str) -> list[Any]:
    if not subjects:
        raise CommandError(f"Name at least one {what} by its number.")
    found: list[Any] = []
    for text in subjects:
        if model is TrustAnchorBundle:
            found.append(bundles.named(text))
            continue
        row = model._default_manager.filter(pk=int(text)).first() if text.isdecimal() and len(text) < 19 else None
        if row is None:
            raise CommandError(f"There is no {what} {text!r}; name it by its number.")
        found.append(row)
    return found


def _one(subjects: list[str], model: type[Model], what: str) -> Any:
    if len(subjects) != 1:
        raise CommandError(f"Name one {what} by its number.")
    return _numbered(subjects, model, what)[0]


def _cohort(name: str) -> Cohort:
    cohort = Cohort.objects.filter(name=name).first()
    if cohort is None:
        raise CommandError(f"There is no cohort {name!r}; name one with --cohort.")
    return cohort
