"""OCPP 2.0.1 in the canonical vocabulary."""

from bfcerts.ocpp.v201.adapter import OCPP201

__all__ = ["OCPP201"]
