"""OCPP 1.6J with its security extension, as a charging station speaks it."""

from tests.simulator.v16.dialect import Ocpp16

__all__ = ["Ocpp16"]
