"""Which times can be true of a charger: what is stated from outside and stored is checked against these."""

from datetime import UTC, datetime
from typing import Final

EARLIEST_PLAUSIBLE: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Before there were chargers that speak OCPP."""
