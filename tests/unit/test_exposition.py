"""Reports as Prometheus reads them, parsed by its own parser."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from marketdata.histogram import Histogram
from monitoring.exposition import expose
from monitoring.metrics import METRICS
from monitoring.reports import Report
from monitoring.samples import Buckets, buckets, sample


def report(name: str, *samples: Any, role: str = "web") -> Report:
    measured = list(samples)
    return Report(
        name=name, role=role, host="h", pid=1, version="1", started_us=0, at_us=0,
        samples=[each for each in measured if not isinstance(each, Buckets)],
        histograms=[each for each in measured if isinstance(each, Buckets)],
    )  # fmt: skip


def read(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (each.name, tuple(sorted(each.labels.items()))): each.value
        for family in text_string_to_metric_families(text.decode())
        for each in family.samples
    }


def test_each_process_has_a_series_of_its_own() -> None:
    found = read(expose([report("a", sample("tickwire_connections", 3)), report("b", sample("tickwire_connections", 4))], []))
    assert found == {
        ("tickwire_connections", (("process", "a"), ("role", "web"))): 3,
        ("tickwire_connections", (("process", "b"), ("role", "web"))): 4,
    }


def test_a_counter_keeps_its_name_and_labels() -> None:
    text = expose([report("a", sample("tickwire_gaps_total", 2, reason="broker"))], [])
    assert read(text) == {("tickwire_gaps_total", (("process", "a"), ("reason", "broker"), ("role", "web"))): 2}


def test_buckets_are_cumulated_and_summed() -> None:
    pauses = Histogram(METRICS["tickwire_gc_pause_seconds"].bounds)
    for seconds in (0.0004, 0.0008, 0.003, 7.0):
        pauses.observe(seconds)
    found = read(expose([report("a", buckets("tickwire_gc_pause_seconds", pauses))], []))
    own = (("process", "a"), ("role", "web"))
    at = {dict(labels)["le"]: value for (name, labels), value in found.items() if name.endswith("_bucket")}
    assert (at["0.0005"], at["0.001"], at["0.005"], at["1.0"], at["+Inf"]) == (1, 2, 3, 3, 4)
    assert found["tickwire_gc_pause_seconds_count", own] == 4
    assert found["tickwire_gc_pause_seconds_sum", own] == pytest.approx(7.0042)


def test_what_the_installation_has_once_bears_no_process() -> None:
    assert read(expose([], [sample("tickwire_feed_up", 1, feed="demo")])) == {("tickwire_feed_up", (("feed", "demo"),)): 1}


def test_what_another_version_reports_is_left_out() -> None:
    odd = Buckets("tickwire_gc_pause_seconds", (), (1, 2), 3.0)
    assert read(expose([report("a", sample("tickwire_of_the_future", 1), odd)], [])) == {}


def test_an_observation_on_a_bound_belongs_below_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (1.0, 1.5, 2.0, 2.5):
        histogram.observe(value)
    assert histogram.counts == [1, 2, 1]


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_names_and_kinds_fit_together(metric: Any) -> None:
    assert metric.name.startswith("tickwire_")
    assert (metric.kind == "counter") == metric.name.endswith("_total")
    assert (metric.kind == "histogram") == bool(metric.bounds)
    assert list(metric.bounds) == sorted(metric.bounds)
    assert metric.help.endswith(".")
    assert not {"symbol", "topic", "user"} & set(metric.labels)


def test_the_names_that_others_rely_on_exist() -> None:
    assert METRICS.keys() >= {
        "tickwire_connections", "tickwire_updates_delivered_total", "tickwire_conflated_total", "tickwire_gaps_total",
        "tickwire_delivery_latency_seconds", "tickwire_event_loop_lag_seconds", "tickwire_feed_last_event_age_seconds",
        "tickwire_canary_age_seconds", "tickwire_redis_up", "tickwire_beat_age_seconds",
    }  # fmt: skip
