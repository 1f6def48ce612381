"""From the commit of a revocation to the end of the session that used the certificate."""

import json
import subprocess
import sys
from math import ceil

from tests.bench.errors import BenchError
from tests.bench.figures import Figure
from tests.bench.load import Closures, Connect, load_process
from tests.bench.scale import Scale
from tests.bench.site import Plane, Site

REVOKING_SECONDS = 300


def revocation(site: Site, scale: Scale) -> list[Figure]:
    """Revoke certificates one after the other while all stations are connected, and see when each is thrown off.

    The time begins just before the commit, so it holds the commit itself and the station's side of closing.
    """
    stations = site.stations(scale.sessions)
    chosen = [station.station_id for station in stations[:: len(stations) // scale.revocations]][: scale.revocations]
    with site.plane("revocation") as plane:
        plane.fill(stations)
        with load_process(plane.url, site.server_root_file, stations) as load:
            load.order(Connect(0, len(stations)), float)
            plane.settle()
            committed = _revoke(plane, chosen)
            plane.settle()
            closed: dict[str, float] = load.order(Closures(), dict)
    if set(closed) != set(chosen):
        raise BenchError(f"{len(closed)} sessions were closed, of {len(chosen)} that had to be")
    seconds = sorted(closed[station_id] - committed[station_id] for station_id in chosen)
    return [Figure("revocation.close_p99_ms", seconds[ceil(0.99 * len(seconds)) - 1] * 1_000)]


def _revoke(plane: Plane, station_ids: list[str]) -> dict[str, float]:
    """Let a process of its own revoke; when it was about to commit each, in monotonic seconds."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.revoker"],
        input=json.dumps(station_ids),
        env=plane.environment("web"),
        capture_output=True,
        text=True,
        timeout=REVOKING_SECONDS,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"the certificates could not be revoked: {done.stderr.strip()[-500:]}")
    committed: dict[str, float] = json.loads(done.stdout)
    return committed
