"""The wire's own tables: sessions, the outbox of commands, the inbox of evidence, questions, listener keys."""

from bfcerts.ocpp.models.inbox import InboxMessage
from bfcerts.ocpp.models.listener import ListenerKey
from bfcerts.ocpp.models.outbox import OutboxCommand
from bfcerts.ocpp.models.question import StationQuestion
from bfcerts.ocpp.models.session import GatewayNode, StationSession

__all__ = ["GatewayNode", "InboxMessage", "ListenerKey", "OutboxCommand", "StationQuestion", "StationSession"]
