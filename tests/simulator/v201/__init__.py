"""OCPP 2.0.1 as a charging station speaks it."""

from tests.simulator.v201.dialect import Ocpp201

__all__ = ["Ocpp201"]
