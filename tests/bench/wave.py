"""A wave of chargers moves to Profile 3 at the CA's quota; the rest of the system hardly feels it."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from statistics import median
from typing import Any
from urllib.request import Request, urlopen

from tests.bench.errors import BenchError
from tests.bench.figures import Figure
from tests.bench.load import Connect, LoadProcess, Pace, load_process
from tests.bench.movers import Arrive, Await, main
from tests.bench.scale import Scale
from tests.bench.site import Plane, Site
from tests.bench.wave_stock import PER_MINUTE

PAGE = "admin/inventory/managedidentity/"
LOOKS_APART = 0.5
BEATS_APART = 0.5
COMMAND_SECONDS = 300
SLOWEST = 5
"""So many times the quota's own time is waited for the last charger."""


@dataclass
class Rest:
    """How long the rest of the system takes: heartbeats of stations that stay, and a page of the console."""

    beats: list[float] = field(default_factory=list)
    pages: list[float] = field(default_factory=list)


def wave(site: Site, scale: Scale) -> list[Figure]:
    """From the apply of the plan until the last charger is connected on Profile 3, and what that costs the others."""
    bystanders = site.stations(scale.bystanders)
    passwords = {f"MV-{number:06}": f"password-of-mover-{number:06}" for number in range(1, scale.moving_chargers + 1)}
    own_time = scale.moving_chargers / (PER_MINUTE / 60)
    with site.plane("wave") as plane:
        plane.fill(bystanders)
        session = str(_stock(plane, "ready", list(passwords.items())))
        plane.start_web()
        with (
            load_process(plane.url, site.server_root_file, bystanders) as load,
            _movers(plane, passwords) as movers,
        ):
            load.order(Connect(0, len(bystanders)), float)
            movers.order(Arrive(), int)
            plane.settle()
            idle = _watch(plane, load, session, scale.idle_window_seconds)
            with ThreadPoolExecutor(1) as pool:
                waiting = pool.submit(_move, plane, movers, scale.moving_chargers, own_time)
                busy = _watch(plane, load, session, own_time)
                seconds = waiting.result()
    return [
        Figure("wave.quota_ratio", seconds / own_time),
        Figure("wave.interference_ratio", max(_ratio(busy.beats, idle.beats), _ratio(busy.pages, idle.pages))),
    ]


@contextlib.contextmanager
def _movers(plane: Plane, passwords: dict[str, str]) -> Iterator[LoadProcess]:
    urls = (plane.profile2_url, plane.url)
    process = LoadProcess(main, urls, plane.site.server_root_file, plane.site.folder / "movers", passwords)
    try:
        yield process
    finally:
        process.end()


def _move(plane: Plane, movers: LoadProcess, count: int, own_time: float) -> float:
    """Seconds from the apply until the last one is on Profile 3.

    :raises BenchError: when not all of them move.
    """
    included, applied_at = _stock(plane, "start", None)
    if included != count:
        raise BenchError(f"only {included} of {count} chargers are in the plan")
    moved: dict[str, float] = movers.order(Await(max(60.0, SLOWEST * own_time)), dict)
    return max(moved.values()) - float(applied_at)


def _watch(plane: Plane, load: LoadProcess, session: str, seconds: float) -> Rest:
    rest = Rest()
    with ThreadPoolExecutor(1) as pool:
        beating = pool.submit(load.order, Pace(seconds, BEATS_APART), list)
        request = Request(f"http://127.0.0.1:{plane.web_port}/{PAGE}", headers={"Cookie": f"sessionid={session}"})
        while not beating.done():
            rest.pages.append(_look(request))
            wait([beating], timeout=LOOKS_APART)
        rest.beats = beating.result()
    return rest


def _look(request: Request) -> float:
    """
    :raises BenchError: when it is not the page that was asked for.
    """
    began = time.monotonic()
    with urlopen(request, timeout=60) as answer:  # noqa: S310  # our own address
        answer.read()
        if PAGE not in answer.url or answer.status != 200:
            raise BenchError(f"the console answered with {answer.status} {answer.url}")
    return time.monotonic() - began


def _ratio(busy: list[float], idle: list[float]) -> float:
    return median(busy) / median(idle)


def _stock(plane: Plane, what: str, given: Any) -> Any:
    """
    :raises BenchError: when it fails.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.wave_stock", what],
        input=json.dumps(given),
        env=plane.environment("worker"),
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"the wave could not be made {what}: {done.stderr.strip()[-800:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])
