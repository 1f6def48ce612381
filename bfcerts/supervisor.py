"""Runs several processes on one machine: starts, restarts and ends them, each in a process group of its own.

For a first look and for small installations; in production each process has its own service (docs/deployment.md).
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

GRACE_SECONDS = 12.0
RESTART_SECONDS = 1.0
LONGEST_RESTART_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""A process that ran this long had started well; its next restart is quick again."""


@dataclass
class Child:
    """One process: its command, what its environment holds beyond the common, and its present run."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    restart_at: float = 0.0
    readers: list[threading.Thread] = field(default_factory=list)


class Supervisor:
    """Starts children and keeps them running until it is told to stop."""

    def __init__(self, log_directory: Path, output: IO[str]) -> None:
        self._log_directory = log_directory
        self._output = output
        self._children: list[Child] = []
        self._stopping = threading.Event()
        log_directory.mkdir(parents=True, exist_ok=True)

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Child:
        """Start a process, which `watch` keeps running."""
        child = Child(name, command, environment, self._log_directory / f"{name}.log")
        self._children.append(child)
        self._spawn(child)
        return child

    def _spawn(self, child: Child) -> None:
        child.process = subprocess.Popen(
            child.command,
            env=dict(child.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        child.started = time.monotonic()
        reader = threading.Thread(target=self._copy_output, args=(child, child.process), daemon=True)
        reader.start()
        child.readers = [reader]

    def _copy_output(self, child: Child, process: subprocess.Popen[bytes]) -> None:
        if process.stdout is None:
            return
        with child.log.open("ab") as log:
            for line in process.stdout:
                log.write(line)
                log.flush()

    def watch(self, seconds: float) -> None:
        """Restart what has ended, with growing pauses, for some seconds or until told to stop."""
        ends = time.monotonic() + seconds
        while not self._stopping.is_set() and time.monotonic() < ends:
            for child in self._children:
                self._restart_if_ended(child)
            self._stopping.wait(0.2)

    def _restart_if_ended(self, child: Child) -> None:
        if child.process is None:
            if time.monotonic() >= child.restart_at:
                self._spawn(child)
            return
        code = child.process.poll()
        if code is None:
            return
        _end_group(child.process.pid, signal.SIGKILL)
        child.failures = 1 if time.monotonic() - child.started > STEADY_SECONDS else child.failures + 1
        pause = min(RESTART_SECONDS * 2 ** (child.failures - 1), LONGEST_RESTART_SECONDS)
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        last = f"  Its last words: {_last_line(child.log)}\n" if code > 0 else ""
        self._output.write(f"{child.name} {how}; starting it again in {pause:.0f} s.\n{last}  Its log: {child.log}\n")
        self._output.flush()
        child.process, child.restart_at = None, time.monotonic() + pause

    def request_stop(self, *_: object) -> None:
        """Ask for an orderly end; safe in a signal handler."""
        self._stopping.set()

    def stop(self) -> None:
        """End all children, first politely; whatever is left of their groups after the grace is killed."""
        self._stopping.set()
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        ends = time.monotonic() + GRACE_SECONDS
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, ends - time.monotonic()))
            _end_group(process.pid, signal.SIGKILL)


def _end_group(leader: int, number: signal.Signals) -> None:
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        return


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else ""


def manage(*arguments: str) -> list[str]:
    """The command line of a management command in this interpreter."""
    return [sys.executable, "manage.py", *arguments]
