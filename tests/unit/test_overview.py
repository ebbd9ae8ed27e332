"""How the installation fares, from successive snapshots."""

from __future__ import annotations

from typing import Any

from marketdata.histogram import Histogram
from monitoring.installation import Snapshot
from monitoring.metrics import LATENCY_S
from monitoring.overview import LATENCY, SERIES, Overviews
from monitoring.reports import Report
from monitoring.samples import Buckets, Sample, buckets, sample

SECOND = 1_000_000


def report(name: str, second: int, role: str = "web", latencies: tuple[float, ...] = (), **values: float) -> Report:
    histogram = Histogram(LATENCY_S)
    for latency in latencies:
        histogram.observe(latency)
    return Report(
        name=name, role=role, host="h", pid=1, version="1", started_us=0, at_us=second * SECOND,
        samples=[sample(f"tickwire_{metric}", value) for metric, value in values.items()],
        histograms=[buckets(LATENCY, histogram)] if role == "web" else [],
    )  # fmt: skip


def snapshot(*reports: Report, samples: tuple[Sample, ...] = ()) -> Snapshot:
    return Snapshot(reports, samples)


def values(overviews: Overviews, *reports: Report, samples: tuple[Sample, ...] = ()) -> Any:
    return overviews.of(snapshot(*reports, samples=samples)).values


def test_every_series_is_there_from_the_start() -> None:
    assert list(values(Overviews())) == list(SERIES)


def test_rates_of_all_processes_are_added() -> None:
    overviews = Overviews()
    first = values(overviews, *(report(name, 1, updates_delivered_total=100) for name in "ab"))
    assert first["delivered"] is None
    again = values(overviews, report("a", 2, updates_delivered_total=150), report("b", 3, updates_delivered_total=120))
    assert again["delivered"] == 50 + 10


def test_what_comes_in_is_seen_though_nobody_follows_it() -> None:
    overviews = Overviews()
    values(overviews, report("feed", 1, "feed", updates_published_total=100), report("web", 1, updates_received_total=0))
    again = values(overviews, report("feed", 2, "feed", updates_published_total=130), report("web", 2, updates_received_total=0))
    assert again["published"] == 30


def test_a_process_that_came_later_does_not_count_from_its_beginning() -> None:
    overviews = Overviews()
    values(overviews, report("a", 1, updates_delivered_total=100))
    both = values(overviews, report("a", 2, updates_delivered_total=101), report("b", 2, updates_delivered_total=1_000_000))
    assert both["delivered"] == 1


def test_connections_are_added_and_of_lag_the_worst_is_shown() -> None:
    found = values(
        Overviews(),
        report("a", 1, connections=3, event_loop_lag_seconds=0.1),
        report("b", 1, connections=4, event_loop_lag_seconds=0.02),
    )
    assert (found["connections"], found["loop_lag"], found["processes"]) == (7, 0.1, 2)


def test_latency_is_that_of_lately_over_all_processes() -> None:
    overviews = Overviews()
    values(overviews, report("a", 1, latencies=(4.0,) * 1000), report("b", 1))
    found = values(overviews, report("a", 2, latencies=(4.0,) * 1000 + (0.0015,) * 50), report("b", 2, latencies=(0.03,) * 50))
    assert 0.001 <= found["latency_p50"] <= 0.002
    assert 0.02 <= found["latency_p99"] <= 0.05


def test_a_process_of_another_version_does_not_spoil_the_latency() -> None:
    overviews = Overviews()
    odd = report("odd", 1, latencies=(0.01,))
    for second in (1, 2):
        changed = Buckets(LATENCY, (), (1, 2, 3 * second), 1.0)
        odd = Report(
            name="odd", role="web", host="h", pid=1, version="0", started_us=0, at_us=second * SECOND, histograms=[changed]
        )
        found = values(overviews, odd, report("a", second, latencies=(0.0015,) * second))
    assert 0.001 <= found["latency_p50"] <= 0.002


def test_the_stalest_feed_and_those_that_are_down_are_told() -> None:
    samples = (
        sample("tickwire_feed_up", 1, feed="a"), sample("tickwire_feed_last_event_age_seconds", 2.5, feed="a"),
        sample("tickwire_feed_up", 0, feed="b"), sample("tickwire_feed_last_event_age_seconds", 80, feed="b"),
        sample("tickwire_feed_up", 1, feed="new"),
    )  # fmt: skip
    overview = Overviews().of(snapshot(samples=samples))
    assert (overview.values["feed_age"], overview.values["feeds_down"]) == (80, 1)
    assert [(feed.name, feed.up, feed.age_s) for feed in overview.feeds] == [
        ("a", True, 2.5),
        ("b", False, 80),
        ("new", True, None),
    ]


def test_where_nobody_evaluates_alerts_their_number_is_not_known() -> None:
    assert values(Overviews())["alerts_firing"] is None
    samples = tuple(sample("tickwire_alerts_firing", count, severity=name) for name, count in (("critical", 1), ("warning", 2)))
    overview = Overviews().of(snapshot(samples=samples))
    assert (overview.values["alerts_firing"], overview.firing) == (3, {"critical": 1, "warning": 2})


def test_a_process_says_whether_it_is_ready_if_anybody_asks_it() -> None:
    overview = Overviews().of(snapshot(report("w", 1, ready=0, memory_bytes=7), report("f", 1, "feed", memory_bytes=5)))
    assert [(each.name, each.ready, each.memory_bytes) for each in overview.processes] == [("w", False, 7), ("f", None, 5)]
