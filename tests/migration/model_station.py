"""A model of a charging station's passwords: one slot or two, prompt or late, and what it answers to a new one."""

from dataclasses import dataclass, field
from uuid import uuid4

from django.conf import settings

from bfcerts.ocpp import outbox, secret_payload
from bfcerts.ocpp.canonical import Action, CommandOutcome, Evidence
from bfcerts.ocpp.models import OutboxCommand, StationSession
from bfcerts.ocpp.outbox import Ending
from bfcerts.ocpp.registry import Admission
from inventory.models import ManagedIdentity
from migration.services.authorization_keys import PasswordDoor
from tests.inventory.attempts import password_attempt
from tests.support import ControlPlane


@dataclass
class ModelStation:
    """A station whose passwords decide whether it gets in. It talks through the real outbox, inbox and door."""

    identity: ManagedIdentity
    plane: ControlPlane
    password: str
    """What it connects with."""
    two_slots: bool = False
    """It keeps the former password, and falls back to it when the new one is refused."""
    applies_after_restart: bool = False
    protocol: str = "ocpp2.0.1"
    former: str = ""
    waiting: str = ""
    """Taken, and used after the next restart."""
    session: StationSession | None = None
    refusals: int = 0
    seen: list[str] = field(default_factory=list)
    """The passwords that it was ever sent."""

    @property
    def name(self) -> str:
        return self.identity.authoritative_identifier

    def works(self, password: str) -> bool:
        """Whether the door would let it in with this password now; asked without leaving a trace."""
        from django.db import transaction

        with transaction.atomic():
            (decision,) = PasswordDoor().decide([password_attempt(self.name, password.encode(), self.plane.clock())])
            transaction.set_rollback(True)
        return isinstance(decision, Admission)

    def has_a_way_in(self) -> bool:
        """Whether it can get in with what it has: now, and after a restart."""
        now = self.works(self.password) or (self.two_slots and bool(self.former) and self.works(self.former))
        later = not self.waiting or self.works(self.waiting) or (self.two_slots and self.works(self.password))
        return now and later

    def connect(self) -> bool:
        """Come in, if the door opens: with the password, or with the former one where it keeps two."""
        self.disconnect()
        for password in [self.password, *([self.former] if self.two_slots and self.former else [])]:
            (decision,) = PasswordDoor().decide([password_attempt(self.name, password.encode(), self.plane.clock())])
            if isinstance(decision, Admission):
                if password != self.password:
                    self.password, self.former = password, self.password
                self._admitted(decision)
                return True
            self.refusals += 1
        return False

    def _admitted(self, decision: Admission) -> None:
        now = self.plane.clock()
        self.session = StationSession.objects.create(
            id=uuid4(),
            station_id=self.name,
            node="model",
            listener="profile2",
            protocol=self.protocol,
            security_profile=decision.security_profile,
            address="127.0.0.1",
            connected_at=now,
        )
        if decision.evidence_wanted:
            self._tell(
                Evidence.CONNECTED,
                {"profile": 2, "fingerprint": "", "authorization_key": decision.options["authorization_key"]},
            )

    def disconnect(self) -> None:
        """The connection is gone; what was sent on it goes back into the queue."""
        from bfcerts.ocpp.gateway.commands import release

        for session in StationSession.objects.filter(station_id=self.name, closed_at__isnull=True):
            StationSession.objects.filter(pk=session.pk).update(closed_at=self.plane.clock())
            release([session.pk], self.plane.clock())
        self.session = None

    @property
    def is_connected(self) -> bool:
        return (
            self.session is not None
            and StationSession.objects.filter(pk=self.session.pk, closed_at__isnull=True).exists()
        )

    def restart(self) -> None:
        """Off and on again: what waited for a restart is in use, and a BootNotification follows the connection."""
        if self.waiting:
            self._use(self.waiting)
            self.waiting = ""
        if self.connect():
            self._tell(Evidence.BOOTED, {"reason": "PowerUp", "model": "Model", "vendor": "Vendor"})

    def _use(self, password: str) -> None:
        if password != self.password:
            self.password, self.former = password, self.password

    def next_command(self) -> OutboxCommand | None:
        """The next command, taken out of the outbox as the gateway takes it."""
        from bfcerts.ocpp.gateway.commands import Wish, claim

        if not self.is_connected or self.session is None:
            return None
        (command,) = claim([Wish(self.name, self.session.pk, self.plane.clock())])
        return OutboxCommand.objects.get(pk=command.id) if command else None

    def take(self, command: OutboxCommand) -> None:
        """Do what is asked: keep the password, or nothing yet."""
        if command.action == Action.SET_AUTHORIZATION_KEY and command.secret_payload is not None:
            key = settings.CONFIGURATION.credential_secret()
            secret = secret_payload.open(bytes(command.secret_payload), key)["authorization_key"]
            self.seen.append(secret)
            if self.applies_after_restart:
                self.waiting = secret
            else:
                self._use(secret)

    def answer(self, command: OutboxCommand, outcome: str = "accepted", status: str = "", code: str = "") -> None:
        """What becomes of the command, as the gateway stores it."""
        answered = CommandOutcome(outcome)
        plain = {"accepted": "Accepted", "rejected": "Rejected"}.get(outcome, "")
        words = status or plain
        outbox.finish(
            [Ending(command.pk, answered, words, answer={"status": words} if words else None, error_code=code)],
            now=self.plane.clock(),
        )

    def _tell(self, kind: Evidence, payload: dict[str, object]) -> None:
        from bfcerts.ocpp import inbox
        from bfcerts.ocpp.inbox import Observation

        inbox.store(
            [
                Observation(
                    station_id=self.name,
                    session_id=self.session.pk if self.session else None,
                    kind=kind,
                    payload=payload,
                    received_at=self.plane.clock(),
                )
            ]
        )
