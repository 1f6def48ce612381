"""Limits that a flood cannot wear out: every table in here is bounded, and forgets the one longest unused first.

Times are monotonic seconds and come in as parameters.
"""

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

Value = TypeVar("Value")

LARGEST_TABLE: Final = 20_000
ADDRESSES_OF_A_STATION: Final = 2.0
"""How many addresses have to fail at their full rate at the same time to keep out a station that was not here yet."""


class Recent(OrderedDict[str, Value], Generic[Value]):
    """A dictionary of at most `LARGEST_TABLE` entries."""

    def keep(self, key: str, value: Value) -> Value:
        self[key] = value
        self.move_to_end(key)
        if len(self) > LARGEST_TABLE:
            self.popitem(last=False)
        return value


@dataclass(slots=True)
class TokenBucket:
    """`burst` at once, `rate` a second in the long run. Taking more than there is makes a debt, down to -burst."""

    rate: float
    burst: float
    tokens: float
    updated: float

    @classmethod
    def full(cls, rate: float, burst: float, now: float) -> "TokenBucket":
        return cls(rate, burst, burst, now)

    def _refill(self, now: float) -> None:
        self.tokens = min(self.burst, self.tokens + (now - self.updated) * self.rate)
        self.updated = now

    def wait(self, now: float) -> float:
        """Seconds until one token is there."""
        self._refill(now)
        return max(0.0, (1.0 - self.tokens) / self.rate)

    def spend(self, now: float) -> None:
        self._refill(now)
        self.tokens = max(-self.burst, self.tokens - 1.0)


def address_group(address: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 that one IPv6 site has to itself."""
    parsed = ipaddress.ip_address(address)
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))


class PasswordThrottle:
    """Slows wrong passwords per station and per address.

    A station that came in from an address before is only slowed by its own failures there, so that neither a
    neighbour behind the same address nor a stranger who tries its name elsewhere can keep it out. Nor can one stranger
    who is there first, when a gateway has just started and knows nobody: a station has the failures of
    `ADDRESSES_OF_A_STATION` addresses.
    """

    def __init__(self, failures_per_minute: int) -> None:
        self._burst = float(failures_per_minute)
        self._buckets: Recent[TokenBucket] = Recent()
        self._welcome: Recent[None] = Recent()

    def _bursts(self, station_id: str, address: str) -> dict[str, float]:
        """The buckets that count for a try, each with its failures in a minute."""
        group = address_group(address)
        pair = f"{station_id} {group}"
        if pair in self._welcome:
            return {pair: self._burst}
        return {f"station {station_id}": self._burst * ADDRESSES_OF_A_STATION, f"address {group}": self._burst}

    def wait(self, station_id: str, address: str, now: float) -> float:
        """Seconds that this station and address have to wait for their next try; 0 when they need not."""
        buckets = (self._buckets.get(key) for key in self._bursts(station_id, address))
        return max((bucket.wait(now) for bucket in buckets if bucket is not None), default=0.0)

    def failed(self, station_id: str, address: str, now: float) -> None:
        for key, burst in self._bursts(station_id, address).items():
            bucket = self._buckets.get(key) or TokenBucket.full(burst / 60, burst, now)
            self._buckets.keep(key, bucket).spend(now)

    def succeeded(self, station_id: str, address: str) -> None:
        self._welcome.keep(f"{station_id} {address_group(address)}", None)


@dataclass(slots=True)
class _Window(Generic[Value]):
    ends: float
    report: Value
    repeated: int


class Repetitions(Generic[Value]):
    """Lets the first of many equal reports through, and counts the others until their window ends.

    A report that was repeated in its window stays known for a further one: what goes on and on is told as a count per
    window, and is news again only after a window without it.

    Beyond `reports_per_second` in the long run even the first ones are only counted, so that reports under ever new
    keys cannot fill the database either.
    """

    def __init__(self, window_seconds: float, reports_per_second: float, now: float) -> None:
        self._length = window_seconds
        self._windows: Recent[_Window[Value]] = Recent()
        self._all = TokenBucket.full(reports_per_second, reports_per_second * 10, now)

    def note(self, key: str, report: Value, now: float) -> bool:
        """Whether to send this report now; the others are counted and come out of `ended`."""
        window = self._windows.get(key)
        if window is not None:
            window.repeated += 1
            return False
        fresh = self._all.wait(now) <= 0
        if fresh:
            self._all.spend(now)
        self._windows.keep(key, _Window(now + self._length, report, 0 if fresh else 1))
        return fresh

    def ended(self, now: float) -> list[tuple[Value, int]]:
        """The reports whose window has ended, each with how often it was repeated and not sent."""
        summaries = []
        while self._windows:
            key, window = next(iter(self._windows.items()))
            if window.ends > now:
                break
            if window.repeated:
                if self._all.wait(now) > 0:
                    break
                self._all.spend(now)
                summaries.append((window.report, window.repeated))
                self._windows.keep(key, _Window(now + self._length, window.report, 0))
            else:
                del self._windows[key]
        return summaries
