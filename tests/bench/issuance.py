"""From SignCertificate to CertificateSigned, through the durable job path, with the local CA."""

from statistics import median

from tests.bench.errors import BenchError
from tests.bench.figures import Figure
from tests.bench.load import Connect, Enrol, Enrolments, LoadProcess, load_process
from tests.bench.scale import Scale
from tests.bench.site import Plane, Site


def issuance(site: Site, scale: Scale) -> list[Figure]:
    """One station at a time, then as many as wait at once; each station is on Profile 3 and asks once.

    Sustained means: so many a second for the whole window, after a warm-up, with never less than `outstanding`
    stations waiting.
    """
    stations = site.stations(scale.one_at_a_time + scale.enrolling_stations)
    with site.plane("issuance") as plane:
        plane.fill(stations)
        with load_process(plane.url, site.server_root_file, stations) as load:
            load.order(Connect(0, len(stations)), float)
            plane.settle()
            idle = idle_median(load, plane, 0, scale.one_at_a_time)
            seconds = scale.warm_up_seconds + scale.sustained_seconds
            order = Enrol(scale.one_at_a_time, scale.enrolling_stations, scale.outstanding, seconds)
            sustained = _sustained(load.order(order, Enrolments), scale)
    return [Figure("issuance.per_s", sustained), Figure("issuance.idle_median_ms", idle)]


def idle_median(load: LoadProcess, plane: Plane, first: int, count: int) -> float:
    """Milliseconds from SignCertificate to CertificateSigned, one station after the other, nothing else going on."""
    durations = []
    for number in range(first, first + count):
        durations += load.order(Enrol(number, 1, 1), Enrolments).durations()
        plane.settle()
    return median(durations) * 1_000


def _sustained(enrolments: Enrolments, scale: Scale) -> float:
    began = min(asked for asked, _ in enrolments.times) + scale.warm_up_seconds
    ended = min(began + scale.sustained_seconds, max(asked for asked, _ in enrolments.times))
    if ended - began < scale.sustained_seconds / 2:
        raise BenchError(f"{scale.enrolling_stations} stations do not last for the window; use more")
    return sum(began <= delivered < ended for _, delivered in enrolments.times) / (ended - began)
