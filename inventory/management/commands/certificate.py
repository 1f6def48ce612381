"""`manage.py certificate`: the lifecycle commands from the command line, with the same checks as admin and API."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from inventory.actors import Actor
from inventory.choices import RecordState, RevocationReason
from inventory.errors import InventoryError
from inventory.models import CertificateJob, CertificateRecord, ManagedIdentity
from inventory.purposes import CHARGER_IDENTITY
from inventory.services import lifecycle, station_commands

ON_RECORDS = ("install", "renew", "deactivate", "reactivate", "revoke", "delete")
ON_IDENTITIES = ("issue", "cut-over")
LONGEST_CSR = 20_000
"""Characters, as in the console and the API."""


class Command(BaseCommand):
    help = (
        "Run one lifecycle command: issue and cut-over name an identity, the others a certificate record by number, "
        "or an identity whose active certificate is meant."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("verb", choices=[*ON_IDENTITIES, *ON_RECORDS])
        parser.add_argument("subject", help="an authoritative identifier, or the number of a certificate record")
        parser.add_argument(
            "--as", dest="user", required=True, metavar="USER", help="who does it; their permissions count"
        )
        parser.add_argument("--reason", required=True, help="why, for the audit trail")
        parser.add_argument("--purpose", default=CHARGER_IDENTITY.key)
        parser.add_argument("--slot", default="")
        parser.add_argument("--csr", type=Path, metavar="FILE", help="issue from this request (PEM), and ask nobody")
        parser.add_argument("--revocation-reason", choices=RevocationReason.values, default="unspecified")
        parser.add_argument("--force", action="store_true", help="also take the last working credential")
        parser.add_argument(
            "--override-forecast",
            action="store_true",
            help="cut over although the charger could not come back; needs a permission of its own",
        )
        parser.add_argument("--idempotency-key", help="the same key is the same job")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']!r}; name one with --as.")
        try:
            result = _run(options, Actor.person(user))
        except InventoryError as error:
            raise CommandError(str(error)) from None
        if isinstance(result, CertificateJob):
            waits = f", waits for {result.waiting_for}" if result.waiting_for else ""
            self.stdout.write(f"Job {result.pk}: {result} ({result.get_state_display().lower()}{waits}).")
        else:
            self.stdout.write(f"Certificate {result.pk}: {result}.")


def _run(options: dict[str, Any], actor: Actor) -> CertificateJob | CertificateRecord:
    verb, reason = options["verb"], options["reason"]
    key = options["idempotency_key"]
    if verb == "issue":
        return lifecycle.issue(
            identity=_identity(options["subject"]),
            purpose=options["purpose"],
            slot=options["slot"],
            csr_pem=_request(options["csr"]),
            actor=actor,
            reason=reason,
            idempotency_key=key,
        )
    if options["csr"] is not None:
        raise CommandError(f"--csr goes with issue alone, not with {verb}.")
    if verb == "cut-over":
        override = options["override_forecast"]
        identity = _identity(options["subject"])
        return station_commands.cut_over(identity=identity, actor=actor, reason=reason, override_forecast=override)
    record = _record(options["subject"], options["purpose"], options["slot"])
    calls: dict[str, Callable[[], CertificateJob | CertificateRecord]] = {
        "install": lambda: lifecycle.install(record=record, actor=actor, reason=reason, idempotency_key=key),
        "renew": lambda: lifecycle.renew(record=record, actor=actor, reason=reason, idempotency_key=key),
        "deactivate": lambda: lifecycle.deactivate(record=record, actor=actor, reason=reason, force=options["force"]),
        "reactivate": lambda: lifecycle.reactivate(record=record, actor=actor, reason=reason),
        "revoke": lambda: lifecycle.revoke(
            record=record, actor=actor, reason=reason, revocation_reason=options["revocation_reason"]
        ),
        "delete": lambda: lifecycle.delete(record=record, actor=actor, reason=reason, force=options["force"]),
    }
    return calls[verb]()


def _request(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        with file.open(encoding="ascii", errors="replace") as text:
            return text.read(LONGEST_CSR)
    except OSError as error:
        raise CommandError(f"The request {file} cannot be read: {error.strerror}. Name a file in PEM.") from None


def _identity(name: str) -> ManagedIdentity:
    found = list(ManagedIdentity.objects.filter(authoritative_identifier=name)[:2])
    if len(found) != 1:
        problem = "no identity" if not found else "more than one identity"
        raise CommandError(f"There is {problem} with the identifier {name!r}.")
    return found[0]


def _record(subject: str, purpose: str, slot: str) -> CertificateRecord:
    records = CertificateRecord.objects.all()
    if subject.isdigit() and (record := records.filter(pk=int(subject)).first()):
        return record
    identity = _identity(subject)
    active = records.of(identity.pk, purpose, slot).filter(state=RecordState.ACTIVE).first()
    if active is None:
        raise CommandError(f"{subject} has no active certificate for {purpose}; name a record by its number.")
    return active
