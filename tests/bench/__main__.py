"""`python -m tests.bench [part ...]`: measure, print a table, write var/bench.json."""

import argparse
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench import figures
from tests.bench.errors import BenchError
from tests.bench.figures import Figure
from tests.bench.installation import set_up
from tests.bench.scale import FULL, SHORT, Scale

PARTS = ("heartbeats", "connects", "memory", "relay", "issuance", "revocation", "plans", "bulk", "wave", "growth")
RESULT = Path(__file__).resolve().parents[2] / "var" / "bench.json"
OPEN_FILES = 16_384


def main(arguments: Sequence[str]) -> int:
    """
    :returns: the exit code: 0 when everything was measured, whether or not it reached its target.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(PARTS)}; all where none is named")
    parser.add_argument("--short", action="store_true", help="try the code on a small scale; writes nothing")
    options = parser.parse_args(arguments)
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; the parts are {', '.join(PARTS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    _raise_open_files()
    measured: list[Figure] = []
    try:
        measured = _measure(options.parts or PARTS, SHORT if options.short else FULL)
    except BenchError as error:
        print(f"The benchmark could not be finished: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(figures.table(measured))  # noqa: T201
    if not options.short:
        figures.write(measured, RESULT)
        print(f"\nWritten to {RESULT}")  # noqa: T201
    return 0


def _measure(parts: Sequence[str], scale: Scale) -> list[Figure]:
    folder = set_up()
    from tests.bench import bulk, gateway, growth, issuance, plans, relay, revocation, wave
    from tests.bench.site import Site

    site = Site(folder)
    known: dict[str, Callable[[Site, Scale], list[Figure]]] = {
        "heartbeats": gateway.heartbeats,
        "connects": gateway.connects,
        "memory": gateway.memory,
        "relay": relay.relay,
        "issuance": issuance.issuance,
        "revocation": revocation.revocation,
        "plans": plans.plans,
        "bulk": bulk.bulk,
        "wave": wave.wave,
        "growth": growth.growth,
    }
    measured: list[Figure] = []
    for part in PARTS:
        if part in parts:
            began = time.monotonic()
            measured += known[part](site, scale)
            print(f"{part}: measured in {time.monotonic() - began:.0f} s", file=sys.stderr)  # noqa: T201
    return measured


def _raise_open_files() -> None:
    """Thousands of connections need as many open files, here and in the processes that are started."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
