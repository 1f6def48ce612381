"""The adapter of OCPP 2.0.1: schema checks both ways around the two tables of messages."""

from datetime import datetime

from bfcerts.ocpp import schemas
from bfcerts.ocpp.canonical import Action, Payload
from bfcerts.ocpp.frames import ErrorCode, Malformed
from bfcerts.ocpp.protocol import Answer, Reaction, RefusedCallError, Request, UnsendableCommandError
from bfcerts.ocpp.v201.commands import BUILDERS, judge
from bfcerts.ocpp.v201.station import HANDLERS


class OCPP201:
    """Implements `ProtocolAdapter`."""

    subprotocol = "ocpp2.0.1"

    def __init__(self) -> None:
        self.schemas = schemas.load("ocpp.v201")

    def react(self, action: str, payload: Payload, now: datetime, heartbeat_interval: int) -> Reaction:
        handler = HANDLERS.get(action)
        if handler is None:
            if action in self.schemas.actions:
                raise RefusedCallError(ErrorCode.NOT_SUPPORTED, "this action is sent by the CSMS only")
            raise RefusedCallError(ErrorCode.NOT_IMPLEMENTED, "this action is unknown in OCPP 2.0.1")
        try:
            self.schemas.check_request(action, payload)
        except schemas.SchemaError as error:
            raise RefusedCallError(error.code, error.description) from None
        reaction = handler(payload, now, heartbeat_interval)
        self.schemas.check_response(action, reaction.answer)
        return reaction

    def error_code(self, code: ErrorCode) -> str:
        return code.value

    def ignores(self, frame: Malformed) -> bool:
        """Part 4 §4.2.3: even what has no readable id is answered."""
        return False

    def request(self, action: Action, payload: Payload) -> Request | None:
        try:
            request = BUILDERS[action](payload)
            if request is None:
                return None
            self.schemas.check_request(request.action, request.payload)
        except (KeyError, TypeError, ValueError) as error:
            raise UnsendableCommandError(
                f"the payload of {action} is not what bfcerts.ocpp.canonical builds: {type(error).__name__}"
            ) from None
        except schemas.SchemaError as error:
            raise UnsendableCommandError(f"{action} cannot be sent over OCPP 2.0.1: {error}") from None
        return request

    def judge(self, request: Request, answer: Payload) -> Answer:
        self.schemas.check_response(request.action, answer)
        return judge(request, answer)
