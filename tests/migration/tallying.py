"""How the chargers of waves stand: as the database has tallied it, and as it is counted anew."""

from collections import Counter

from migration.models import MigrationCase, Wave
from migration.services import tallies

Tally = dict[int, dict[tuple[str, bool], int]]


def tallied() -> Tally:
    found = tallies.of_waves(list(Wave.objects.all()))
    return {
        wave_id: {(standing.state, standing.failed): number for standing, number in tally.items() if number}
        for wave_id, tally in found.items()
    }


def counted() -> Tally:
    found: dict[int, Counter[tuple[str, bool]]] = {wave.pk: Counter() for wave in Wave.objects.all()}
    for case in MigrationCase.objects.filter(wave__isnull=False):
        assert case.wave_id is not None
        by_hand = case.state == "quarantine" and case.reason_code != "breaker_open"
        found[case.wave_id][case.state, case.failed_at is not None or by_hand] += 1
    return {wave_id: dict(tally) for wave_id, tally in found.items()}
