"""The gateway's own figures, each beside that of a bare server which takes turns with it."""

import time
from statistics import median

from tests.bench import meter
from tests.bench.ceiling import bare_server
from tests.bench.figures import Figure
from tests.bench.load import Beat, Connect, Disconnect, load_process
from tests.bench.scale import Scale
from tests.bench.site import Plane, Site

WARM_UP_CONNECTIONS = 20
WARM_UP_SECONDS = 1.0


def heartbeats(site: Site, scale: Scale) -> list[Figure]:
    """Heartbeat round trips per CPU-second of the server, every station sending one after the other."""
    stations = site.stations(scale.heartbeat_stations)
    ours: list[float] = []
    bare: list[float] = []
    with site.plane("heartbeats") as plane, bare_server(site) as server:
        plane.fill(stations)
        with (
            load_process(plane.url, site.server_root_file, stations) as to_us,
            load_process(server.url, site.server_root_file, stations) as to_bare,
        ):
            for load in (to_us, to_bare):
                load.order(Connect(0, len(stations)), float)
                load.order(Beat(WARM_UP_SECONDS), int)
            plane.settle()
            for _ in range(scale.heartbeat_rounds):
                for load, pid, rates in ((to_us, plane.pid("gateway"), ours), (to_bare, server.pid, bare)):
                    before = meter.cpu_seconds(pid)
                    round_trips = load.order(Beat(scale.heartbeat_seconds), int)
                    rates.append(round_trips / (meter.cpu_seconds(pid) - before))
    return [Figure("gateway.heartbeats_per_cpu_s", median(ours), median(bare))]


def connects(site: Site, scale: Scale) -> list[Figure]:
    """New connections per CPU-second of the server: full handshake, upgrade, and with us the door's decision.

    The stations have been connected with the same certificate before, as in a fleet that comes back.
    """
    stations = site.stations(scale.connects)
    ours: list[float] = []
    bare: list[float] = []
    with site.plane("connects") as plane, bare_server(site) as server:
        plane.fill(stations)
        with (
            load_process(plane.url, site.server_root_file, stations) as to_us,
            load_process(server.url, site.server_root_file, stations) as to_bare,
        ):
            for number in range(scale.connect_rounds + 1):
                for load, pid, rates in ((to_us, plane.pid("gateway"), ours), (to_bare, server.pid, bare)):
                    before = meter.cpu_seconds(pid)
                    load.order(Connect(0, len(stations)), float)
                    used = meter.cpu_seconds(pid) - before
                    if number:  # the first round is the stations' first connection, and makes everybody warm
                        rates.append(len(stations) / used)
                    load.order(Disconnect(), int)
                    if load is to_us:
                        _wait_for_departures(plane)
                        plane.settle()
                    meter.wait_until_idle(pid, "the server")
    return [Figure("gateway.mtls_connects_per_cpu_s", median(ours), median(bare))]


def memory(site: Site, scale: Scale) -> list[Figure]:
    """Resident memory that an idle connection adds to a server that has just started."""
    stations = site.stations(scale.idle_connections)
    with site.plane("memory") as plane, bare_server(site) as server:
        plane.fill(stations)
        ours, bare = (
            _memory_per_connection(site, scale, url, pid)
            for url, pid in ((plane.url, plane.pid("gateway")), (server.url, server.pid))
        )
    return [Figure("gateway.idle_kib_per_connection", ours, bare)]


def _memory_per_connection(site: Site, scale: Scale, url: str, pid: int) -> float:
    stations = site.stations(scale.idle_connections)
    with load_process(url, site.server_root_file, stations) as load:
        load.order(Connect(0, WARM_UP_CONNECTIONS), float)
        load.order(Disconnect(), int)
        meter.wait_until_idle(pid, "the server")
        before = meter.resident_kib(pid)
        load.order(Connect(0, len(stations)), float)
        meter.wait_until_idle(pid, "the server")
        time.sleep(scale.idle_seconds)  # what is measured is an idle connection, which only time makes
        return (meter.resident_kib(pid) - before) / len(stations)


def _wait_for_departures(plane: Plane) -> None:
    plane.wait_for(
        lambda: plane.number("SELECT count(*) FROM ocpp_stationsession WHERE closed_at IS NULL") == 0,
        "every session to be closed",
    )
