"""The adapter of OCPP 1.6J: schema checks both ways around the two tables of messages."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import ClassVar, Final

from bfcerts.ocpp import schemas
from bfcerts.ocpp.canonical import Action, Payload
from bfcerts.ocpp.frames import ErrorCode, Malformed
from bfcerts.ocpp.protocol import Answer, Reaction, RefusedCallError, Request, UnsendableCommandError
from bfcerts.ocpp.v16.commands import BUILDERS, Built, judge
from bfcerts.ocpp.v16.plug_and_charge import OPEN_CHARGE_ALLIANCE, PlugAndChargeDialect, Transfer
from bfcerts.ocpp.v16.station import HANDLERS

CODES: Final = {
    ErrorCode.FORMAT_VIOLATION: "FormationViolation",
    ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION: "OccurenceConstraintViolation",
    # What 2.0.1 calls errors of the RPC framework is here a message that does not conform to its structure.
    ErrorCode.RPC_FRAMEWORK_ERROR: "FormationViolation",
}
"""OCPP-J 1.6 §4.2.3, in its own spelling, where it differs from 2.0.1."""


class OCPP16:
    """Implements `ProtocolAdapter`. A family's own flows are a subclass that says some commands otherwise."""

    subprotocol = "ocpp1.6"
    builders: ClassVar[Mapping[Action, Callable[[Payload], Built]]] = BUILDERS
    plug_and_charge: ClassVar[PlugAndChargeDialect] = OPEN_CHARGE_ALLIANCE
    """In which a station is asked; it is heard in either."""

    def __init__(self) -> None:
        # §3.13 does not demand a time zone, and many stations write none.
        self.schemas = schemas.load("ocpp.v16", zone_required=False)

    def react(self, action: str, payload: Payload, now: datetime, heartbeat_interval: int) -> Reaction:
        handler = HANDLERS.get(action)
        if handler is None:
            if action in self.schemas.actions:
                raise RefusedCallError(ErrorCode.NOT_SUPPORTED, "this action is sent by the Central System only")
            raise RefusedCallError(ErrorCode.NOT_IMPLEMENTED, "this action is unknown in OCPP 1.6")
        try:
            self.schemas.check_request(action, payload)
        except schemas.SchemaError as error:
            raise RefusedCallError(error.code, error.description) from None
        reaction = handler(payload, now, heartbeat_interval)
        self.schemas.check_response(action, reaction.answer)
        return reaction

    def error_code(self, code: ErrorCode) -> str:
        return CODES.get(code, code.value)

    def ignores(self, frame: Malformed) -> bool:
        """OCPP-J 1.6 §4.1.3 ignores unknown message types, and §4.2.3 answers under the id of the request only."""
        return frame.message_id is None or frame.code is ErrorCode.MESSAGE_TYPE_NOT_SUPPORTED

    def request(self, action: Action, payload: Payload) -> Request | None:
        try:
            built = self.builders[action](payload)
            request = built.request(self.plug_and_charge) if isinstance(built, Transfer) else built
            if request is not None:
                self.check_request(request)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UnsendableCommandError(
                f"the payload of {action} is not what bfcerts.ocpp.canonical builds: {type(error).__name__}"
            ) from None
        except schemas.SchemaError as error:
            raise UnsendableCommandError(f"{action} cannot be sent over OCPP 1.6: {error}") from None
        return request

    def check_request(self, request: Request) -> None:
        """
        :raises SchemaError: when the request breaks the schema of its message.
        """
        self.schemas.check_request(request.action, request.payload)

    def judge(self, request: Request, answer: Payload) -> Answer:
        self.schemas.check_response(request.action, answer)
        return judge(request, answer)
