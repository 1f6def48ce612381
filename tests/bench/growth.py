"""What one certificate costs in an inventory of a thousand records and in one of a million."""

from statistics import median

from tests.bench.figures import Figure
from tests.bench.issuance import idle_median
from tests.bench.load import Connect, Enrol, Enrolments, LoadProcess, load_process
from tests.bench.scale import Scale
from tests.bench.site import Plane, Site


def growth(site: Site, scale: Scale) -> list[Figure]:
    """The two figures of issuance, in two planes that take turns; the ratio is that of the one that worsens more."""
    stations = site.stations(scale.growth_rounds * (scale.growth_one_at_a_time + scale.growth_enrolments))
    with site.plane("few") as few, site.plane("many") as many:
        few.fill(stations, invented=scale.few_records - len(stations))
        many.fill(stations, invented=scale.many_records - len(stations))
        with (
            load_process(few.url, site.server_root_file, stations) as to_few,
            load_process(many.url, site.server_root_file, stations) as to_many,
        ):
            for load, plane in ((to_few, few), (to_many, many)):
                load.order(Connect(0, len(stations)), float)
                plane.settle()
            latency_ratios, pace_ratios = [], []
            for number in range(scale.growth_rounds):
                small, large = (_round(load, plane, scale, number) for load, plane in ((to_few, few), (to_many, many)))
                latency_ratios.append(large[0] / small[0])
                pace_ratios.append(large[1] / small[1])
    return [Figure("issuance.growth_ratio", max(median(latency_ratios), median(pace_ratios)))]


def _round(load: LoadProcess, plane: Plane, scale: Scale, number: int) -> tuple[float, float]:
    """Median milliseconds of one at a time, and seconds for each certificate with many at once."""
    first = number * (scale.growth_one_at_a_time + scale.growth_enrolments)
    latency = idle_median(load, plane, first, scale.growth_one_at_a_time)
    order = Enrol(first + scale.growth_one_at_a_time, scale.growth_enrolments, scale.outstanding)
    times = load.order(order, Enrolments).times
    seconds = max(delivered for _, delivered in times) - min(asked for asked, _ in times)
    plane.settle()
    return latency, seconds / len(times)
