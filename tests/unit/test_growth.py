"""Rates and percentiles from what processes report in turn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.histogram import Histogram
from monitoring.growth import Growth, added, quantile

BOUNDS = (0.001, 0.01, 0.1, 1.0)
SECOND = 1_000_000


def test_a_rate_is_between_the_last_two_reports_by_their_own_clock() -> None:
    growth = Growth(0.0)
    for at_us, count in ((0, 100), (SECOND, 150), (3 * SECOND, 350)):
        growth.note("web", at_us, count)
    assert growth.per_second("web") == 100.0


def test_one_report_gives_no_rate_and_reading_it_again_changes_nothing() -> None:
    growth = Growth(0.0)
    growth.note("web", SECOND, 5)
    assert growth.per_second("web") is None
    growth.note("web", 2 * SECOND, 15)
    growth.note("web", 2 * SECOND, 15)
    assert growth.per_second("web") == 10.0


def test_a_counter_that_went_back_began_anew() -> None:
    growth = Growth(60.0)
    for second, count in enumerate((100, 200, 3, 7)):
        growth.note("feed", second * SECOND, count)
    assert growth.per_second("feed") == 4.0


def test_a_window_forgets_what_is_older() -> None:
    growth = Growth(5.0)
    for second in range(20):
        growth.note("topic", second * SECOND, second * 10 if second > 10 else 0)
    grown = growth.of("topic")
    assert grown is not None
    assert (grown.seconds, grown.counts) == (5.0, (50.0,))


def test_what_is_not_kept_is_forgotten() -> None:
    growth = Growth(0.0)
    for name in ("a", "b"):
        growth.note(name, 0, 1)
        growth.note(name, SECOND, 2)
    growth.keep({"b"})
    assert (growth.per_second("a"), growth.per_second("b")) == (None, 1.0)


def test_a_process_of_another_version_with_other_buckets_begins_anew() -> None:
    growth = Growth(60.0)
    growth.note("web", 0, 1, 2)
    growth.note("web", SECOND, 1, 2, 3)
    assert growth.of("web") is None


def test_a_percentile_lies_within_its_bucket() -> None:
    counts = (0, 98, 2, 0, 0)
    assert quantile(BOUNDS, counts, 0.5) == pytest.approx(0.001 + 0.009 * 50 / 98)
    assert quantile(BOUNDS, counts, 0.99) == pytest.approx(0.01 + 0.09 * 1 / 2)


def test_without_observations_there_is_no_percentile() -> None:
    assert quantile(BOUNDS, (0, 0, 0, 0, 0), 0.99) is None
    assert quantile(BOUNDS, (), 0.99) is None


def test_above_all_bounds_a_percentile_is_the_last_bound() -> None:
    assert quantile(BOUNDS, (0, 0, 0, 0, 7), 0.5) == 1.0


def test_buckets_of_several_processes_are_one_histogram() -> None:
    assert added([(1, 2, 3), (10, 20, 30)]) == (11, 22, 33)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=50), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_percentile_is_never_further_from_the_truth_than_its_bucket_is_wide(values: list[float], share: float) -> None:
    histogram = Histogram(BOUNDS)
    for value in values:
        histogram.observe(value)
    found = quantile(BOUNDS, histogram.counts, share)
    truth = sorted(values)[max(0, -(-int(share * 100) * len(values) // 100) - 1)]
    low, high = max((0.0, *(each for each in BOUNDS if each < truth))), min(each for each in BOUNDS if each >= truth)
    assert found is not None
    assert low <= found <= high
