"""The gate of a wave: three-valued, and closed wherever it cannot be sure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migration.services.gates import Counts, Thresholds, explain, needed, verdict
from migration.states import Verdict

THRESHOLDS = Thresholds(success_percent=90, failure_percent=10, minimum_sample=5)


def test_it_opens_at_its_threshold_and_not_before() -> None:
    assert verdict(Counts(100, 89, 0), THRESHOLDS, past_deadline=False) == Verdict.UNDECIDED
    assert verdict(Counts(100, 90, 0), THRESHOLDS, past_deadline=False) == Verdict.PASS


def test_silence_is_never_success_and_does_not_make_the_wave_smaller() -> None:
    assert verdict(Counts(100, 80, 0), THRESHOLDS, past_deadline=True) == Verdict.INCONCLUSIVE
    assert verdict(Counts(100, 80, 0, given_up=20), THRESHOLDS, past_deadline=False) == Verdict.INCONCLUSIVE


def test_failures_close_it_at_once_when_the_sample_is_large_enough() -> None:
    assert verdict(Counts(100, 3, 1), THRESHOLDS, past_deadline=False) == Verdict.UNDECIDED
    assert verdict(Counts(100, 4, 1), THRESHOLDS, past_deadline=False) == Verdict.FAIL


def test_a_failure_beyond_the_threshold_weighs_more_than_a_success() -> None:
    thresholds = Thresholds(success_percent=50, failure_percent=10, minimum_sample=5)
    assert verdict(Counts(10, 6, 2), thresholds, past_deadline=False) == Verdict.FAIL


def test_few_chargers_are_a_sample_once_nothing_more_will_come() -> None:
    assert verdict(Counts(2, 0, 1, retrying=1), THRESHOLDS, past_deadline=False) == Verdict.UNDECIDED
    assert verdict(Counts(2, 1, 1), THRESHOLDS, past_deadline=False) == Verdict.FAIL


@pytest.mark.parametrize(
    ("counts", "thresholds"),
    [
        (Counts(0, 0, 0), THRESHOLDS),
        (Counts(5, 6, 0), THRESHOLDS),
        (Counts(5, -1, 0), THRESHOLDS),
        (Counts(5, 5, 0), Thresholds(0, 10, 5)),
        (Counts(5, 5, 0), Thresholds(101, 0, 5)),
        (Counts(5, 5, 0), Thresholds(95, 10, 5)),
        (Counts(5, 5, 0), Thresholds(95, 5, 0)),
    ],
)
def test_what_makes_no_sense_is_inconclusive(counts: Counts, thresholds: Thresholds) -> None:
    assert verdict(counts, thresholds, past_deadline=False) == Verdict.INCONCLUSIVE
    assert "make no sense" in explain(Verdict.INCONCLUSIVE, counts, thresholds, past_deadline=False)


numbers = st.integers(0, 60)


@given(numbers, numbers, numbers, numbers, st.integers(1, 100), st.integers(0, 99), st.integers(1, 20), st.booleans())
def test_a_pass_always_has_the_successes_that_its_threshold_asks_for(
    total: int, succeeded: int, failed: int, given_up: int, success: int, failure: int, sample: int, late: bool
) -> None:
    counts, thresholds = Counts(total, succeeded, failed, given_up), Thresholds(success, failure, sample)
    found = verdict(counts, thresholds, past_deadline=late)
    if found == Verdict.PASS:
        assert succeeded >= needed(total, success) > 0
        assert succeeded * 100 >= success * total
    if late:
        assert found != Verdict.UNDECIDED
    assert explain(found, counts, thresholds, past_deadline=late)
