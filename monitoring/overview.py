"""How the whole installation fares at one moment: its numbers, processes and feeds, made from successive snapshots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

import msgspec

from monitoring.growth import Counts, Growth, added, quantile
from monitoring.installation import Snapshot
from monitoring.metrics import LATENCY_S, METRICS
from monitoring.registry import Process
from monitoring.reports import Report
from monitoring.samples import Buckets

LATENCY = "tickwire_delivery_latency_seconds"
LATENCY_WINDOW_S = 10.0  # a process samples a few updates a second: p99 of one second would be the maximum of five


class Series(NamedTuple):
    """One number that is kept over time.

    Attributes:
        name: as in JSON.
        unit: `/s`, `s`, `B`, `B/s`, or empty for things that are counted.
        over: how many moments become one: by their mean, or by the worst of them.
        help: what it is.
    """

    name: str
    unit: str
    over: Literal["mean", "max"]
    help: str


SERIES = {
    series.name: series
    for series in (
        Series("connections", "", "mean", "clients that are connected"),
        Series("slow", "", "max", "clients that do not keep up"),
        Series("published", "/s", "mean", "updates that were published, whoever follows them"),
        Series("delivered", "/s", "mean", "updates handed to clients' sockets"),
        Series("sent_bytes", "B/s", "mean", "bytes handed to clients' sockets"),
        Series("conflated", "/s", "mean", "updates that a newer one replaced before they were delivered"),
        Series("gaps", "/s", "mean", "losses that clients were told of"),
        Series("latency_p50", "s", "mean", "half of the updates took no longer from publish to socket write"),
        Series("latency_p99", "s", "max", "99 of 100 updates took no longer"),
        Series("loop_lag", "s", "max", "how late the latest event loop is"),
        Series("memory", "B", "mean", "resident memory of all processes"),
        Series("feed_age", "s", "max", "since the newest tick of the feed that is silent longest"),
        Series("feeds_down", "", "max", "feeds with something wrong"),
        Series("canary_age", "s", "max", "since a message last came back through the bus, of the worst process"),
        Series("redis_round_trip", "s", "max", "how long Redis took to answer, of the worst process"),
        Series("beat_age", "s", "max", "since Celery beat's last tick was carried out"),
        Series("queue_depth", "", "max", "tasks that wait for a worker"),
        Series("processes", "", "mean", "processes that report"),
        Series("alerts_firing", "", "max", "alerts that fire"),
    )
}
RATES = {  # series: the counter that it is the rate of
    "published": "tickwire_updates_published_total",
    "delivered": "tickwire_updates_delivered_total",
    "sent_bytes": "tickwire_sent_bytes_total",
    "conflated": "tickwire_conflated_total",
    "gaps": "tickwire_gaps_total",
}
SUMS = {"connections": "tickwire_connections", "slow": "tickwire_slow_connections", "memory": "tickwire_memory_bytes"}
WORST = {
    "loop_lag": "tickwire_event_loop_lag_seconds",
    "canary_age": "tickwire_canary_age_seconds",
    "redis_round_trip": "tickwire_redis_round_trip_seconds",
}
INSTALLATION = {"beat_age": "tickwire_beat_age_seconds", "queue_depth": "tickwire_queue_depth"}
Values = dict[str, float | None]


class ProcessState(Process, frozen=True, kw_only=True):
    """A process, and what it needs."""

    memory_bytes: float
    loop_lag_s: float | None


class FeedAge(msgspec.Struct, frozen=True):
    """A feed. `age_s` is null where nothing came yet."""

    name: str
    up: bool
    age_s: float | None


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """The installation at one moment; a value that is not known is null.

    Attributes:
        at: when, µs since the Unix epoch.
        values: by name of the series.
        firing: alerts that fire, by severity; null where none are evaluated.
    """

    at: int
    values: Values
    processes: list[ProcessState]
    feeds: list[FeedAge]
    firing: dict[str, int] | None


class Overviews:
    """Makes overviews of successive snapshots; for one thread."""

    def __init__(self) -> None:
        self._rates = Growth(0.0)
        self._latency = Growth(LATENCY_WINDOW_S)

    def of(self, snapshot: Snapshot) -> Overview:
        """What a snapshot shows, given those before it."""
        reports = snapshot.reports
        self._note(reports)
        feeds = list(feed_ages(snapshot))
        firing = alerts_firing(snapshot)
        found = installation_values(snapshot)
        values: Values = {
            **{name: _sum(report.value(metric) for report in reports) for name, metric in SUMS.items()},
            **{name: _sum(self._rates.per_second((report.name, name)) for report in reports) for name in RATES},
            **{name: _max(report.value(metric) for report in reports) for name, metric in WORST.items()},
            **{name: found.get(metric) for name, metric in INSTALLATION.items()},
            **self._latencies(reports),
            "feed_age": _max(feed.age_s for feed in feeds),
            "feeds_down": sum(not feed.up for feed in feeds),
            "processes": len(reports),
            "alerts_firing": None if firing is None else sum(firing.values()),
        }
        processes = [_state(report, snapshot.taken_us) for report in reports]
        whole = {name: values[name] for name in SERIES}
        return Overview(at=snapshot.taken_us, values=whole, processes=processes, feeds=feeds, firing=firing)

    def _note(self, reports: Iterable[Report]) -> None:
        names = set()
        for report in reports:
            names |= {report.name, *((report.name, series) for series in RATES)}
            for series, metric in RATES.items():
                if (value := report.value(metric)) is not None:
                    self._rates.note((report.name, series), report.at_us, value)
            if (buckets := _histogram(report, LATENCY)) is not None:
                self._latency.note(report.name, report.at_us, *buckets.counts)
        self._rates.keep(names)
        self._latency.keep(names)

    def _latencies(self, reports: Iterable[Report]) -> Values:
        grown = [found.counts for report in reports if (found := self._latency.of(report.name)) is not None]
        counts: Counts = added(grown) if grown else ()
        return {name: quantile(LATENCY_S, counts, share) for name, share in (("latency_p50", 0.5), ("latency_p99", 0.99))}


def feed_ages(snapshot: Snapshot) -> Iterator[FeedAge]:
    """How fresh each feed is."""
    ages = {
        dict(each.labels)["feed"]: each.value for each in snapshot.samples if each.name == "tickwire_feed_last_event_age_seconds"
    }
    for each in snapshot.samples:
        if each.name == "tickwire_feed_up":
            name = dict(each.labels)["feed"]
            yield FeedAge(name, bool(each.value), ages.get(name))


def alerts_firing(snapshot: Snapshot) -> dict[str, int] | None:
    """Alerts that fire, by severity; None: nobody says."""
    found = [each for each in snapshot.samples if each.name == "tickwire_alerts_firing"]
    return {dict(each.labels)["severity"]: round(each.value) for each in found} if found else None


def installation_values(snapshot: Snapshot) -> Mapping[str, float]:
    """What is measured once and has no labels."""
    return {each.name: each.value for each in snapshot.samples if not each.labels}


def _histogram(report: Report, name: str) -> Buckets | None:
    """A process's state of a histogram; one of another version has other buckets, and does not count."""
    found = next((each for each in report.histograms if each.name == name), None)
    return found if found is not None and len(found.counts) == len(METRICS[name].bounds) + 1 else None


def _state(report: Report, now_us: int) -> ProcessState:
    return ProcessState(
        **msgspec.structs.asdict(Process.of(report, now_us)),
        memory_bytes=report.value("tickwire_memory_bytes") or 0.0,
        loop_lag_s=report.value("tickwire_event_loop_lag_seconds"),
    )


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _max(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
