"""The values that rules compare: labels, processes put together, rates of counters, quantiles of histograms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.alerts import Terms
from monitoring.metrics import LATENCY_S
from monitoring.readings import OF_NOTHING, Readings, quantile
from monitoring.reports import Report
from monitoring.rules import Rule, flaws, labels_of
from monitoring.samples import Buckets, Sample, sample
from monitoring.windows import POINTS, Windows

TERMS = Terms(comparison=">", threshold=1)


def report(name: str, *samples: Sample | Buckets, role: str = "web") -> Report:
    return Report(
        name=name, role=role, host="h", pid=1, version="1", started_us=0, at_us=0,
        samples=[each for each in samples if isinstance(each, Sample)],
        histograms=[each for each in samples if isinstance(each, Buckets)],
    )  # fmt: skip


def rule(metric: str, **more: object) -> Rule:
    return Rule(name="r", summary="", metric=metric, terms=TERMS, severity="warning", **more)  # type: ignore[arg-type]


def read(which: Rule, *reports: Report, installation: tuple[Sample, ...] = ()) -> dict[object, float]:
    return Readings(reports, installation).of(which, Windows(), 0.0)  # type: ignore[return-value]


class Watched:
    """Readings one after the other, with one memory."""

    def __init__(self, which: Rule) -> None:
        self.rule, self.windows = which, Windows()

    def at(self, now: float, *reports: Report, installation: tuple[Sample, ...] = ()) -> dict[object, float]:
        readings = Readings(reports, installation)
        readings.note_in(self.windows, [self.rule], now)
        return readings.of(self.rule, self.windows, now)  # type: ignore[return-value]


# processes


@pytest.mark.parametrize(("how", "value"), [("sum", 7.0), ("max", 4.0), ("min", 3.0)])
def test_processes_are_put_together_as_the_rule_says(how, value):
    two = (report("a", sample("tickwire_connections", 3)), report("b", sample("tickwire_connections", 4)))
    assert read(rule("tickwire_connections", aggregation=how), *two) == {(): value}


def test_each_process_is_an_alert_of_its_own_where_the_rule_says_so():
    found = read(rule("tickwire_memory_bytes", aggregation="each"), report("a", sample("tickwire_memory_bytes", 3)))
    assert found == {(("process", "a"), ("role", "web")): 3.0}


def test_other_labels_are_never_put_together():
    pool = [sample("tickwire_database_pool_connections", n, state=state) for n, state in ((1, "open"), (2, "idle"))]
    found = read(rule("tickwire_database_pool_connections"), report("a", *pool), report("b", *pool))
    assert found == {(("state", "open"),): 1.0, (("state", "idle"),): 2.0}


def test_labels_choose_samples():
    both = (report("a", sample("tickwire_memory_bytes", 3)), report("b", sample("tickwire_memory_bytes", 9), role="feed"))
    assert read(rule("tickwire_memory_bytes", labels={"role": "web"}), *both) == {(): 3.0}


def test_a_metric_that_nobody_has_gives_nothing():
    assert read(rule("tickwire_memory_bytes"), report("a")) == {}


def test_samples_of_the_installation_have_their_own_labels_only():
    found = read(rule("tickwire_feed_up", aggregation="each"), installation=(sample("tickwire_feed_up", 1, feed="demo"),))
    assert found == {(("feed", "demo"),): 1.0}


def test_a_role_that_the_installation_counts_is_no_process():
    roles = (sample("tickwire_processes", 2, role="web"), sample("tickwire_processes", 0, role="feed"))
    assert read(rule("tickwire_processes"), installation=roles) == {(("role", "web"),): 2.0, (("role", "feed"),): 0.0}


def test_a_metric_is_divided_in_each_process_before_all_are_put_together():
    which = rule("tickwire_open_descriptors", per="tickwire_most_descriptors")
    found = read(
        which,
        report("a", sample("tickwire_open_descriptors", 10), sample("tickwire_most_descriptors", 100)),
        report("b", sample("tickwire_open_descriptors", 80), sample("tickwire_most_descriptors", 100)),
    )
    assert found == {(): 0.8}


def test_something_of_nothing_is_very_much_and_nothing_of_nothing_has_no_value():
    which = rule("tickwire_open_descriptors", per="tickwire_most_descriptors", aggregation="each")
    parts = [sample("tickwire_most_descriptors", 0)]
    found = read(
        which,
        report("a", sample("tickwire_open_descriptors", 1), *parts),
        report("b", sample("tickwire_open_descriptors", 0), *parts),
        report("c", sample("tickwire_open_descriptors", 1)),
    )
    assert found == {(("process", "a"), ("role", "web")): OF_NOTHING}


# counters

CONFLATED = "tickwire_conflated_total"


def test_a_counter_is_read_as_its_increase_per_second():
    watched = Watched(rule(CONFLATED, window_s=60))
    values = [watched.at(5.0 * n, report("a", sample(CONFLATED, 10 * n))) for n in range(30)]
    assert values[0] == {(): 0.0}
    assert values[-1] == {(): pytest.approx(2.0, rel=0.1)}


def test_a_window_that_is_not_full_yet_counts_as_whole():
    watched = Watched(rule(CONFLATED, window_s=100))
    watched.at(0, report("a", sample(CONFLATED, 0)))
    assert watched.at(5, report("a", sample(CONFLATED, 10))) == {(): 0.1}


def test_a_counter_that_began_anew_counts_from_zero():
    watched = Watched(rule(CONFLATED, window_s=100))
    for at, value in ((0, 500), (5, 510), (10, 20)):
        found = watched.at(at, report("a", sample(CONFLATED, value)))
    assert found == {(): pytest.approx(0.3)}


def test_the_first_event_of_a_label_is_not_lost():
    watched = Watched(rule("tickwire_errors_total", labels={"name": "internal"}, window_s=100))
    assert watched.at(0, report("a")) == {}
    found = watched.at(5, report("a", Sample("tickwire_errors_total", (("name", "internal"),), 1.0)))
    assert found == {(("name", "internal"),): 0.01}


def test_what_a_process_counted_before_it_was_first_seen_is_no_increase():
    watched = Watched(rule(CONFLATED, window_s=100))
    watched.at(0, report("a", sample(CONFLATED, 0)))
    assert watched.at(5, report("a", sample(CONFLATED, 0)), report("b", sample(CONFLATED, 900)))[()] == 0.0


def test_what_a_process_counted_before_it_went_away_stays_in_the_window_and_then_leaves_it():
    watched = Watched(rule(CONFLATED, window_s=100, aggregation="sum"))
    watched.at(0, report("a", sample(CONFLATED, 0)))
    watched.at(5, report("a", sample(CONFLATED, 50)))
    assert watched.at(10, report("b", sample(CONFLATED, 0))) == {(): 0.5}
    assert watched.at(200, report("b", sample(CONFLATED, 0))) == {(): 0.0}


def test_a_feed_that_pauses_for_an_hour_goes_on_where_it_was():
    watched = Watched(rule("tickwire_feed_lost_total", window_s=100))
    lost = sample("tickwire_feed_lost_total", 500, feed="demo")
    assert watched.at(0, installation=(lost,)) == {(("feed", "demo"),): 0.0}
    assert watched.at(1800) == {}
    assert watched.at(3600, installation=(lost,)) == {(("feed", "demo"),): 0.0}


@given(st.lists(st.integers(0, 50), min_size=1, max_size=120))
def test_the_memory_of_a_counter_is_bounded_and_exact_within_a_step(steps):
    watched = Watched(rule(CONFLATED, window_s=60))
    total, at_times = 0, []
    for number, grown in enumerate(steps):
        total += grown
        at_times.append((5.0 * number, total))
        found = watched.at(5.0 * number, report("a", sample(CONFLATED, total)))[()]
    assert max(len(trail.points) for trail in watched.windows.trails) <= POINTS + 3
    now = at_times[-1][0]
    least = total - next(value for at, value in at_times if at >= now - 60)
    most = total - next(value for at, value in reversed(at_times) if at <= max(0.0, now - 60 - 10))
    assert least <= found * 60 + 1e-6 <= most + 1e-6 or least - 1e-6 <= found * 60 <= most + 1e-6


# histograms

LATENCY = "tickwire_delivery_latency_seconds"


def test_a_quantile_is_taken_over_all_processes_and_the_window():
    watched = Watched(rule(LATENCY, quantile=0.99, window_s=60))
    nothing = (0,) * (len(LATENCY_S) + 1)
    quick = tuple(98 if bound == 0.001 else 0 for bound in (*LATENCY_S, 0))
    late = tuple(2 if bound == 1.0 else 0 for bound in (*LATENCY_S, 0))
    watched.at(0, *(report(name, Buckets(LATENCY, (), nothing, 0.0)) for name in "ab"))
    found = watched.at(5, report("a", Buckets(LATENCY, (), quick, 1.0)), report("b", Buckets(LATENCY, (), late, 1.0)))
    assert 0.5 < found[()] <= 1.0


def test_without_observations_there_is_no_quantile():
    watched = Watched(rule(LATENCY, quantile=0.99))
    assert watched.at(0, report("a", Buckets(LATENCY, (), (0,) * (len(LATENCY_S) + 1), 0.0))) == {}


def test_buckets_of_another_version_are_left_out():
    assert Watched(rule(LATENCY, quantile=0.99)).at(0, report("a", Buckets(LATENCY, (), (1, 2), 0.0))) == {}


@pytest.mark.parametrize(("share", "value"), [(0.25, 0.5), (0.5, 1.0), (0.75, 1.5), (1.0, 2.0)])
def test_within_a_bucket_observations_are_spread_evenly(share, value):
    assert quantile(share, (1.0, 2.0), (2, 2, 0)) == value


def test_above_all_bounds_the_last_bound_is_the_answer():
    assert quantile(0.99, (1.0, 2.0), (0, 0, 5)) == 2.0


# what a rule may be


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"metric": "tickwire_nothing"}, "metric"),
        ({"labels": {"feed": "demo"}}, "labels"),
        ({"labels": ["role"]}, "labels"),
        ({"labels": {"role": 1}}, "labels"),
        ({"quantile": 0.5}, "quantile"),
        ({"metric": LATENCY, "per": ""}, "quantile"),
        ({"per": "tickwire_nothing"}, "per"),
        ({"per": LATENCY}, "per"),
        ({"per": "tickwire_feed_up"}, "per"),
    ],
)
def test_a_flaw_is_told_by_field(changes, field):
    whole = {"metric": "tickwire_memory_bytes", "labels": {"role": "web"}, "per": "tickwire_connections", "quantile": None}
    assert flaws(whole) == {}
    assert list(flaws(whole | changes)) == [field]


def test_metrics_of_the_installation_have_no_process():
    assert labels_of("tickwire_feed_up") == ("feed",)
    assert labels_of("tickwire_gaps_total") == ("process", "role", "reason")
