"""Who a station is: what its type plate and its configuration say."""

from dataclasses import dataclass
from enum import StrEnum


class KeyType(StrEnum):
    """The keys that a station may make for itself."""

    P256 = "P-256"
    RSA2048 = "RSA-2048"


@dataclass(frozen=True, slots=True)
class Identity:
    """`station_id` is the charge point id of the connection; the rest is what BootNotification tells."""

    station_id: str
    serial_number: str
    vendor: str = "Example Charging"
    model: str = "AC22"
    firmware: str = "1.4.0"
