"""What the monitor's socket can show: overview, connections, topics, feeds with tasks, alerts. Each is asked in a thread.

Rules of this file:
1. A pane is a function of what Redis and the other processes answer, and of its own earlier answers where it has rates.
2. It asks at most as long as the orders and the store wait, and raises `StoreUnavailable` then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

import msgspec

from marketdata.feed_status import FeedStatus, feed_statuses
from marketdata.store import now_us
from monitoring.growth import Growth, added, quantile
from monitoring.installation import Snapshot
from monitoring.metrics import LATENCY_S
from monitoring.overview import Overview, Overviews, alerts_firing, installation_values
from monitoring.registry import store
from monitoring.reports import Report
from realtime.census import Following, Live, Wanted
from realtime.orders import orders

View = Literal["overview", "connections", "topics", "feeds", "alerts"]
RATE_WINDOW_S = 5.0
TASK = "tickwire_task_duration_seconds"
TASK_WINDOW_S = 60.0
Rate = Annotated[float | None, msgspec.Meta(description="a second, lately; null: not known yet")]


class Filters(Wanted, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which connections, as `admin/connections/` has it; `limit` is how many rows, of topics as well."""


class Question(msgspec.Struct, frozen=True):
    """A view, as somebody wants to see it. What is equal is computed once."""

    view: View
    filters: Filters = Filters()


class ConnectionsPane(msgspec.Struct, frozen=True):
    """Live connections: see `admin/connections/`."""

    connections: list[Live]
    total: int
    silent: int


class TopicsPane(msgspec.Struct, frozen=True):
    """The topics that most connections follow."""

    topics: list[Following]


class FeedRow(FeedStatus, frozen=True, kw_only=True):
    """A feed, and how much it brings."""

    rate: Rate = None


class TaskRow(msgspec.Struct, frozen=True):
    """A Celery task over the last minute. Times are seconds, null where it did not run; `failures` are the worker's."""

    name: str
    rate: Rate
    p50: float | None
    p99: float | None
    failures: int


class FeedsPane(msgspec.Struct, frozen=True):
    """Feeds, and Celery."""

    feeds: list[FeedRow]
    tasks: list[TaskRow]
    beat_age_s: float | None
    queue_depth: int
    workers: int


class AlertsPane(msgspec.Struct, frozen=True):
    """How many alerts fire, by severity; null: none are evaluated. `admin/alerts/` has them one by one."""

    firing: dict[str, int] | None


Pane = Overview | ConnectionsPane | TopicsPane | FeedsPane | AlertsPane


def asker(question: Question) -> Callable[[], Pane]:
    """What computes the answer to a question, again and again, always in one thread at a time."""
    return _ASKERS[question.view](question.filters)


def _overview(_: Filters) -> Callable[[], Overview]:
    overviews = Overviews()
    return lambda: overviews.of(Snapshot.take(store()))


def _connections(filters: Filters) -> Callable[[], ConnectionsPane]:
    wanted = msgspec.structs.asdict(filters)
    return lambda: ConnectionsPane(*orders().connections(**wanted))


def _topics(filters: Filters) -> Callable[[], TopicsPane]:
    return lambda: TopicsPane(orders().topics(filters.limit))


def _feeds(_: Filters) -> Callable[[], FeedsPane]:
    ticks, times = Growth(RATE_WINDOW_S), Growth(TASK_WINDOW_S)

    def ask() -> FeedsPane:
        now, statuses, snapshot = now_us(), feed_statuses(store()), Snapshot.take(store())
        for status in statuses:
            ticks.note(status.name, now, status.ticks)
        workers = [report for report in snapshot.reports if report.role == "worker"]
        values = installation_values(snapshot)
        return FeedsPane(
            [FeedRow(**_fields(status), rate=ticks.per_second(status.name)) for status in statuses],
            list(_tasks(workers, times)),
            values.get("tickwire_beat_age_seconds"),
            round(values.get("tickwire_queue_depth", 0)),
            len(workers),
        )

    return ask


def _tasks(workers: Iterable[Report], times: Growth) -> Iterable[TaskRow]:
    known: dict[str, list[str]] = {}  # task: the workers that ran it
    failures: dict[str, float] = {}
    for worker in workers:
        for each in worker.histograms:
            if each.name == TASK and len(each.counts) == len(LATENCY_S) + 1:
                name = dict(each.labels)["task"]
                known.setdefault(name, []).append(worker.name)
                times.note((worker.name, name), worker.at_us, *each.counts)
        for sample in worker.samples:
            if sample.name == "tickwire_task_failures_total":
                failures[name] = failures.get(name := dict(sample.labels)["task"], 0) + sample.value
    times.keep({(worker, name) for name, workers_of in known.items() for worker in workers_of})
    for name, workers_of in sorted(known.items()):
        grown = [found for worker in workers_of if (found := times.of((worker, name))) is not None]
        counts = added([each.counts for each in grown]) if grown else ()
        rate = sum(sum(each.counts) / each.seconds for each in grown) if grown else None
        yield TaskRow(
            name, rate, quantile(LATENCY_S, counts, 0.5), quantile(LATENCY_S, counts, 0.99), round(failures.get(name, 0))
        )


def _alerts(_: Filters) -> Callable[[], AlertsPane]:
    return lambda: AlertsPane(alerts_firing(Snapshot.take(store())))


def _fields(row: msgspec.Struct) -> dict[str, Any]:
    return msgspec.structs.asdict(row)


_ASKERS: dict[View, Callable[[Filters], Callable[[], Any]]] = {
    "overview": _overview,
    "connections": _connections,
    "topics": _topics,
    "feeds": _feeds,
    "alerts": _alerts,
}
