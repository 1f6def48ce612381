"""How long it takes to plan a bulk action for many chargers, from the shell, and what memory that needs."""

import os
import subprocess
import time
from dataclasses import dataclass

from bfcerts.supervisor import manage
from tests.bench.errors import BenchError
from tests.bench.figures import Figure
from tests.bench.scale import Scale
from tests.bench.site import Plane, Site

REGIONS = 10
"""The stock puts a tenth of its chargers into each."""


@dataclass(frozen=True, slots=True)
class Run:
    """One command that ended well."""

    seconds: float
    peak_kib: int
    said: str


def plans(site: Site, scale: Scale) -> list[Figure]:
    """`manage.py plan bulk_renewal` for a tenth of the chargers and for all of them, start of the process included."""
    with site.plane("plans") as plane:
        plane.fill(site.stations(1), invented=scale.planned_chargers - 1)
        command(plane, "createsuperuser", "--noinput", "--username", "bench", "--email", "bench@example.net")
        some = plan(plane, "bulk_renewal", scale.planned_chargers // REGIONS, 1)
        everybody = plan(plane, "bulk_renewal", scale.planned_chargers, REGIONS)
    return [
        Figure("plan.10k_s", some.seconds),
        Figure("plan.100k_s", everybody.seconds),
        Figure("plan.memory_ratio", everybody.peak_kib / some.peak_kib),
    ]


def plan(plane: Plane, kind: str, chargers: int, regions: int) -> Run:
    """Plan for so many chargers, which are in so many regions.

    :raises BenchError: when the plan is not for so many.
    """
    chosen = [word for number in range(regions) for word in ("--param", f"region=Region {number}")]
    run = command(plane, "plan", kind, *chosen, "--as", "bench", "--reason", "benchmark")
    if f"{chargers:,} of {chargers:,} targets are included" not in run.said:
        raise BenchError(f"the plan is not for {chargers} chargers; it says: {run.said[:500]}")
    return run


def command(plane: Plane, name: str, *arguments: str) -> Run:
    """Run one of our commands in a process of its own, as an operator of the plane would.

    :raises BenchError: when it fails.
    """
    environment = {**plane.environment("worker"), "DJANGO_SUPERUSER_PASSWORD": "bench-bench-bench"}
    began = time.monotonic()
    with subprocess.Popen(
        [*manage(name), *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        said = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise BenchError(f"manage.py {name} failed: {said.strip()[-500:]}")
    return Run(time.monotonic() - began, usage.ru_maxrss, said)
