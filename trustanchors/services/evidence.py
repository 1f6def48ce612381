"""What is heard from below: answers to our commands, and connections (`inventory.seams`)."""

from django.db import transaction

from inventory import seams
from inventory.actors import Actor
from inventory.audit import attributed
from trustanchors.models import BundleInstallation
from trustanchors.services import hearing, installations


def answered(answer: seams.CommandAnswer) -> None:
    """A station answered one of our commands, or never did."""
    number, _, name = answer.reference.partition(":")
    if not number.isdigit() or not name:
        return
    who, why = Actor.station(answer.command.station_id), f"Answer to {answer.command.action}: {answer.outcome}"
    with attributed(who, why), transaction.atomic(savepoint=False):
        installation = installations.lock(int(number))
        if installation is not None:
            hearing.answered(
                installation,
                name,
                outcome=answer.outcome,
                error_code=answer.command.error_code,
                detail=answer.detail,
                answer=answer.answer,
                now=answer.at,
            )


def connected(connection: seams.Connection) -> None:
    """A charger came in: its anchors are in use, and a canary is back. Its identity is locked."""
    ids = list(
        BundleInstallation.objects.select_for_update(of=("self",))
        .filter(identity=connection.identity, current=True)
        .order_by("pk")
        .values_list("pk", flat=True)
    )
    for installation_id in ids:
        installation = installations.lock_of(connection.identity, installation_id)
        hearing.connected(installation, connection.security_profile, connection.at)


def connect() -> None:
    """Called once, when the app is ready."""
    from trustanchors.services import server_certificates
    from trustanchors.services.gate import gate

    seams.on_answer(installations.KIND, answered)
    seams.on_connection(connected)
    seams.add_gate(gate)
    seams.add_gate(server_certificates.gate)
