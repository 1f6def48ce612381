"""The figures, their targets, and how they are shown and stored."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SHARE_OF_CEILING = 0.6
"""How much of the ceiling a figure that has one reaches at least."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should be: at least or at most `limit`, exclusive where `strict`."""

    unit: str
    limit: float
    at_least: bool
    strict: bool = False

    def met_by(self, value: float) -> bool:
        if value == self.limit:
            return not self.strict
        return (value > self.limit) is self.at_least

    def __str__(self) -> str:
        sign = {(True, False): "≥", (False, False): "≤", (True, True): ">", (False, True): "<"}
        return f"{sign[self.at_least, self.strict]} {self.limit:,g}"


TARGETS = {
    "gateway.heartbeats_per_cpu_s": Target("round trips per CPU-second", 8_000, at_least=True),
    "gateway.mtls_connects_per_cpu_s": Target("connections per CPU-second", 300, at_least=True),
    "gateway.idle_kib_per_connection": Target("KiB per connection", 64, at_least=False),
    "relay.round_trips_per_cpu_s": Target("round trips per CPU-second", 4_000, at_least=True),
    "relay.kib_per_connection": Target("KiB per relayed charger", 128, at_least=False),
    "issuance.per_s": Target("certificates per second", 60, at_least=True),
    "issuance.idle_median_ms": Target("ms", 300, at_least=False, strict=True),
    "revocation.close_p99_ms": Target("ms", 1_000, at_least=False, strict=True),
    "plan.10k_s": Target("s", 10, at_least=False),
    "plan.100k_s": Target("s", 90, at_least=False),
    "plan.memory_ratio": Target("times", 1.2, at_least=False),
    "bulk.revocations_per_s": Target("certificates per second", 300, at_least=True),
    "wave.quota_ratio": Target("times", 1.15, at_least=False),
    "wave.interference_ratio": Target("times", 1.2, at_least=False),
    "issuance.growth_ratio": Target("times", 1.2, at_least=False),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure; `ceiling` is the same of a bare server, measured in the same run."""

    name: str
    value: float
    ceiling: float | None = None

    @property
    def target(self) -> Target:
        return TARGETS[self.name]

    @property
    def share(self) -> float | None:
        """How much of the ceiling is reached: 1 is all of it, whichever direction is better."""
        if self.ceiling is None:
            return None
        return self.value / self.ceiling if self.target.at_least else self.ceiling / self.value

    @property
    def met(self) -> bool:
        return self.target.met_by(self.value) and (self.share is None or self.share >= SHARE_OF_CEILING)


def table(figures: Sequence[Figure]) -> str:
    """The figures for a terminal."""
    head = ("figure", "value", "target", "ceiling", "of it", "unit", "")
    rows = [head] + [
        (
            figure.name,
            _number(figure.value),
            str(figure.target),
            _number(figure.ceiling) if figure.ceiling is not None else "",
            f"{figure.share:.2f}" if figure.share is not None else "",
            figure.target.unit,
            "met" if figure.met else "MISSED",
        )
        for figure in figures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    right_aligned = range(1, 5)
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in right_aligned else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def write(figures: Sequence[Figure], path: Path) -> None:
    """Store the figures as a JSON list of objects with name, value, unit, target and, where there is one, ceiling."""
    entries = []
    for figure in figures:
        entry = {
            "name": figure.name,
            "value": round(figure.value, 3),
            "unit": figure.target.unit,
            "target": figure.target.limit,
        }
        if figure.ceiling is not None:
            entry["ceiling"] = round(figure.ceiling, 3)
        entries.append(entry)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:,.2f}"
