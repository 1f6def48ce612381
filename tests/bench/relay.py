"""The relay's own figures, each beside that of a bare relay which takes turns with it, in front of the same CSMS."""

import time
from statistics import median

from tests.bench import meter
from tests.bench.ceiling import BareServer, bare_csms, bare_relay
from tests.bench.figures import Figure
from tests.bench.gateway import WARM_UP_CONNECTIONS, WARM_UP_SECONDS
from tests.bench.load import Beat, Connect, Disconnect, LoadProcess, load_process
from tests.bench.scale import Scale
from tests.bench.site import Plane, Site


def relay(site: Site, scale: Scale) -> list[Figure]:
    """Memory of a relayed connection, and round trips through both hops, for each CPU-second of the relay."""
    stations = site.stations(scale.relayed_connections)
    with (
        bare_csms(site) as csms,
        site.plane("relay", BFCERTS_UPSTREAM_ALLOWED=csms.url) as plane,
        bare_relay(site, csms) as bare,
        load_process(plane.url, site.server_root_file, stations) as to_us,
        load_process(bare.url, site.server_root_file, stations) as to_bare,
    ):
        plane.fill(stations)
        _relay_everybody(plane, csms)
        kib = _memory(plane, to_us, plane.pid("gateway"), scale)
        bare_kib = _memory(None, to_bare, bare.pid, scale)
        rates = _round_trips(plane, bare, to_us, to_bare, scale)
    return [
        Figure("relay.round_trips_per_cpu_s", *rates),
        Figure("relay.kib_per_connection", kib, bare_kib),
    ]


def _relay_everybody(plane: Plane, csms: BareServer) -> None:
    root = plane.site.server_root_file.read_text(encoding="ascii")
    plane.connection.execute(
        "INSERT INTO inventory_upstream (name, url, enabled, when_away, credential, ca_bundle, notes, updated_at) "
        "VALUES ('csms', %s, true, 'stay', '', %s, '', now())",
        [csms.url, root],
    )


def _memory(plane: Plane | None, load: LoadProcess, pid: int, scale: Scale) -> float:
    """Resident memory that an idle charger with its upstream adds to a process that has just started."""
    load.order(Connect(0, WARM_UP_CONNECTIONS), float)
    _settle(plane, WARM_UP_CONNECTIONS)
    load.order(Disconnect(), int)
    _settle(plane, 0)
    meter.wait_until_idle(pid, "the relay")
    before = meter.resident_kib(pid)
    load.order(Connect(0, scale.relayed_connections), float)
    _settle(plane, scale.relayed_connections)
    meter.wait_until_idle(pid, "the relay")
    time.sleep(scale.idle_seconds)  # what is only needed for a moment is given back, and nothing tells when
    used = meter.resident_kib(pid) - before
    load.order(Disconnect(), int)
    _settle(plane, 0)
    return used / scale.relayed_connections


def _round_trips(
    plane: Plane, bare: BareServer, to_us: LoadProcess, to_bare: LoadProcess, scale: Scale
) -> tuple[float, float]:
    ours: list[float] = []
    theirs: list[float] = []
    for load in (to_us, to_bare):
        load.order(Connect(0, scale.heartbeat_stations), float)
    _settle(plane, scale.heartbeat_stations)
    for load in (to_us, to_bare):
        load.order(Beat(WARM_UP_SECONDS), int)
    plane.settle()
    for _ in range(scale.heartbeat_rounds):
        for load, pid, rates in ((to_us, plane.pid("gateway"), ours), (to_bare, bare.pid, theirs)):
            before = meter.cpu_seconds(pid)
            round_trips = load.order(Beat(scale.heartbeat_seconds), int)
            rates.append(round_trips / (meter.cpu_seconds(pid) - before))
    return median(ours), median(theirs)


def _settle(plane: Plane | None, connected: int) -> None:
    """Until so many chargers are connected, each with its upstream, and nothing else is to be done."""
    if plane is None:
        return
    plane.wait_for(
        lambda: plane.number(_STRAYS) == 0 and plane.number(_RELAYED) == connected,
        f"{connected} chargers to be connected with their upstream",
    )
    plane.settle()


_RELAYED = "SELECT count(*) FROM ocpp_stationsession WHERE closed_at IS NULL AND upstream_state = 'connected'"
_STRAYS = "SELECT count(*) FROM ocpp_stationsession WHERE closed_at IS NULL AND upstream_state <> 'connected'"
