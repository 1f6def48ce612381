"""Reading a process's own CPU time and memory, and waiting until it has nothing to do."""

import os
import time
from pathlib import Path

from tests.bench.errors import BenchError

IDLE_WINDOW_SECONDS = 0.5
IDLE_CPU_SECONDS = 0.02
IDLE_PATIENCE_SECONDS = 60.0


def cpu_seconds(pid: int) -> float:
    """CPU time that this one process has used, all its threads, user and system, children excluded (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    user, system = int(fields[11]), int(fields[12])
    return (user + system) / os.sysconf("SC_CLK_TCK")


def resident_kib(pid: int) -> float:
    """Resident memory of this one process (proc(5))."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def wait_until_idle(pid: int, what: str) -> None:
    """Wait until a process has used next to no CPU for half a second.

    :raises BenchError: when it stays busy.
    """
    ends = time.monotonic() + IDLE_PATIENCE_SECONDS
    before = cpu_seconds(pid)
    while time.monotonic() < ends:
        time.sleep(IDLE_WINDOW_SECONDS)  # the window over which the CPU time is taken
        now = cpu_seconds(pid)
        if now - before <= IDLE_CPU_SECONDS:
            return
        before = now
    raise BenchError(f"{what} did not become idle within {IDLE_PATIENCE_SECONDS:g} seconds")
