"""OCPP 1.6J with its security extension (whitepaper, 3rd edition) in the canonical vocabulary."""

from bfcerts.ocpp.v16.adapter import OCPP16
from bfcerts.ocpp.v16.has_to_be import OCPP16HasToBe
from bfcerts.ocpp.v16.legacy_trigger import OCPP16LegacyTrigger

__all__ = ["OCPP16", "OCPP16HasToBe", "OCPP16LegacyTrigger"]
