"""How much is measured: the full benchmark, or a short trial of its code whose figures mean little."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes, rounds and durations (seconds)."""

    heartbeat_stations: int = 200
    heartbeat_rounds: int = 5
    heartbeat_seconds: float = 4.0
    connects: int = 500
    connect_rounds: int = 5
    idle_connections: int = 2_000
    idle_seconds: float = 5.0
    relayed_connections: int = 1_000
    one_at_a_time: int = 100
    enrolling_stations: int = 2_500
    outstanding: int = 64
    """Stations that wait for their certificate at the same time."""
    warm_up_seconds: float = 4.0
    sustained_seconds: float = 20.0
    sessions: int = 2_000
    revocations: int = 300
    few_records: int = 1_000
    many_records: int = 1_000_000
    planned_chargers: int = 100_000
    growth_rounds: int = 4
    growth_one_at_a_time: int = 40
    growth_enrolments: int = 160
    moving_chargers: int = 2_000
    bystanders: int = 50
    """Stations on Profile 3 that only send heartbeats while the others move."""
    idle_window_seconds: float = 20.0


FULL = Scale()
SHORT = Scale(
    heartbeat_stations=50,
    heartbeat_rounds=2,
    heartbeat_seconds=1.0,
    connects=100,
    connect_rounds=2,
    idle_connections=200,
    idle_seconds=1.0,
    relayed_connections=100,
    one_at_a_time=10,
    enrolling_stations=400,
    warm_up_seconds=1.0,
    sustained_seconds=4.0,
    sessions=200,
    revocations=20,
    many_records=20_000,
    planned_chargers=10_000,
    growth_rounds=2,
    growth_one_at_a_time=5,
    growth_enrolments=40,
    moving_chargers=100,
    bystanders=10,
    idle_window_seconds=2.0,
)
