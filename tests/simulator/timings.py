"""How patient a station is. All in seconds unless the name says otherwise."""

from dataclasses import dataclass
from typing import Any, Self

from pydantic import ConfigDict


@dataclass(frozen=True, slots=True)
class Timings:
    """Defaults are what stations in the field do; `quick` is for tests that wait for a station."""

    open_timeout: float = 10.0
    call_timeout: float = 30.0
    close_timeout: float = 2.0
    back_off_minimum: float = 1.0
    """After the first failed attempt; doubles with each further one."""
    back_off_maximum: float = 60.0
    boot_delay: float = 3.0
    """Between a Reset and the first attempt to connect again."""
    boot_retry: float = 30.0
    """Before BootNotification is repeated, where the answer names no interval."""
    attempts_per_profile: int = 3
    """Failures on one network profile before the next is tried (NetworkProfileConnectionAttempts)."""
    attempts_with_new_certificate: int = 2
    """Refusals of a new certificate before the station goes back to the one before (A02.FR.28)."""
    own_renewal_first_check: float = 60.0
    """After the boot, with `Quirks.renews_on_its_own`. Counted by the station's clock."""
    own_renewal_interval: float = 43_200.0
    own_renewal_days: float = 30.0
    ping_interval: float | None = 60.0
    """Between WebSocket pings of the station; None sends none."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    @classmethod
    def quick(cls, **changes: Any) -> Self:
        """No waiting beyond what keeps a station from spinning."""
        values: dict[str, Any] = {
            "back_off_minimum": 0.02,
            "back_off_maximum": 0.2,
            "boot_delay": 0.01,
            "boot_retry": 0.1,
            "close_timeout": 0.5,
        }
        return cls(**(values | changes))
