"""Stations that widened TriggerMessage instead of learning ExtendedTriggerMessage.

They took up the security extension's messages one by one, and ask for a certificate by the old message with the new
word in it. Everything else is plain 1.6.
"""

from types import MappingProxyType

from bfcerts.ocpp.canonical import Action, Payload, is_plug_and_charge
from bfcerts.ocpp.protocol import Request
from bfcerts.ocpp.v16 import plug_and_charge
from bfcerts.ocpp.v16.adapter import OCPP16
from bfcerts.ocpp.v16.commands import BUILDERS, Built, trigger


def _trigger_message(payload: Payload) -> Built:
    if is_plug_and_charge(payload):
        return plug_and_charge.trigger(payload["certificate_type"])
    return Request("TriggerMessage", trigger(payload))


class OCPP16LegacyTrigger(OCPP16):
    """OCPP 1.6J for a charger family whose stations know no ExtendedTriggerMessage."""

    builders = MappingProxyType({**BUILDERS, Action.REQUEST_CSR: _trigger_message})

    def check_request(self, request: Request) -> None:
        """The words of TriggerMessage are here those of ExtendedTriggerMessage; both have the same fields."""
        widened = request.action == "TriggerMessage"
        self.schemas.check_request("ExtendedTriggerMessage" if widened else request.action, request.payload)
