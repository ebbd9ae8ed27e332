"""Every metric of Tickwire: its name, kind, labels and meaning. What is exported and what docs/metrics.md lists is this table."""

from __future__ import annotations

from typing import Literal, NamedTuple

from realtime.hub import FLUSH_SIZES

Kind = Literal["counter", "gauge", "histogram"]
LATENCY_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
PAUSE_S = (0.0005, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Metric(NamedTuple):
    """One metric.

    Attributes:
        name: as exported; a counter's ends with `_total`.
        kind: what one may do with it.
        help: one sentence, with the unit.
        labels: beside `process` and `role`, which all but those of the whole installation have. None of them has a symbol.
        bounds: of a histogram, the upper bounds of its buckets.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


SERVING = (
    Metric("tickwire_connections", "gauge", "Clients that are connected."),
    Metric("tickwire_subscriptions", "gauge", "Topics that clients follow, each client's counted."),
    Metric("tickwire_topics", "gauge", "Topics whose group this process has joined."),
    Metric("tickwire_slow_connections", "gauge", "Clients that do not keep up just now."),
    Metric("tickwire_commands_total", "counter", "Commands from clients.", ("op",)),
    Metric("tickwire_errors_total", "counter", "Errors that clients were told.", ("name",)),
    Metric("tickwire_closes_total", "counter", "Connections that this process closed, by the code of the close.", ("code",)),
    Metric("tickwire_updates_received_total", "counter", "Updates that the bus brought."),
    Metric("tickwire_updates_delivered_total", "counter", "Updates handed to clients' sockets, each client's counted."),
    Metric("tickwire_frames_total", "counter", "Writes to clients' sockets, each with one or more frames."),
    Metric("tickwire_sent_bytes_total", "counter", "Bytes handed to clients' sockets."),
    Metric("tickwire_encodes_total", "counter", "Messages made into bytes, once for all who get them."),
    Metric("tickwire_batch_topics", "histogram", "Topics with something new in one flush.", (), FLUSH_SIZES),
    Metric("tickwire_delivery_latency_seconds", "histogram", "From publish to socket write, of sampled updates.", (), LATENCY_S),
    Metric("tickwire_conflated_total", "counter", "Updates that a newer one replaced before they were delivered."),
    Metric("tickwire_gaps_total", "counter", "Losses that clients were told of.", ("reason",)),
    Metric("tickwire_slow_notices_total", "counter", "Clients that were told that they do not keep up."),
    Metric("tickwire_slow_closes_total", "counter", "Clients that were closed because they did not keep up."),
    Metric("tickwire_resumes_total", "counter", "Topics that clients resumed, by result.", ("result",)),
    Metric("tickwire_holes_total", "counter", "Updates that the bus lost: healed from the store, or lost.", ("result",)),
    Metric("tickwire_refused_connections_total", "counter", "Handshakes that a limit refused.", ("limit",)),
    Metric("tickwire_event_loop_lag_seconds", "gauge", "How late the event loop was when it was last looked at."),
    Metric("tickwire_event_loop_lag_max_seconds", "gauge", "The same at worst in the last minute."),
    Metric("tickwire_canary_age_seconds", "gauge", "Since a message last came back through the bus."),
    Metric("tickwire_canary_latency_seconds", "gauge", "How long that one took: the broker's lag."),
    Metric("tickwire_bus_reconnects_total", "counter", "Connections to the bus that were lost and made again."),
    Metric("tickwire_overload_step", "gauge", "0 well, 1 refusing, 2 slowed down, 3 letting clients go."),
    Metric("tickwire_draining", "gauge", "1: takes no more connections."),
    Metric("tickwire_ready", "gauge", "1: may get traffic."),
)
PROCESS = (
    Metric("tickwire_redis_up", "gauge", "1: Redis answered the last question."),
    Metric("tickwire_redis_round_trip_seconds", "gauge", "How long that answer took."),
    Metric("tickwire_updates_published_total", "counter", "Updates that this process put onto the bus, derived ones included."),
    Metric("tickwire_database_queries_total", "counter", "Queries sent to the database."),
    Metric("tickwire_database_pool_connections", "gauge", "Connections of the database pool, by state.", ("state",)),
    Metric("tickwire_breaker_open", "gauge", "1: nobody waits for this, because it does not answer.", ("what",)),
    Metric("tickwire_task_deaths_total", "counter", "Background tasks that ended and were begun again.", ("task",)),
    Metric(
        "tickwire_log_lines_unwritten_total", "counter", "Log lines that were only counted: alike, or without room.", ("why",)
    ),
    Metric("tickwire_gc_pause_seconds", "histogram", "Pauses of the garbage collector.", (), PAUSE_S),
    Metric("tickwire_memory_bytes", "gauge", "Resident memory."),
    Metric("tickwire_open_descriptors", "gauge", "Open files and sockets."),
    Metric("tickwire_most_descriptors", "gauge", "How many there may be."),
    Metric("tickwire_uptime_seconds", "gauge", "Since the process began."),
    Metric("tickwire_build_info", "gauge", "Always 1.", ("version", "python")),
)
CELERY = (
    Metric("tickwire_task_duration_seconds", "histogram", "How long Celery tasks took.", ("task",), LATENCY_S),
    Metric("tickwire_publisher_overruns_total", "counter", "Beat ticks that took longer than the pause between two of them."),
    Metric("tickwire_task_failures_total", "counter", "Celery tasks that raised.", ("task",)),
)
INSTALLATION = (
    Metric("tickwire_feed_up", "gauge", "1: the feed is connected and nothing is wrong with what it says.", ("feed",)),
    Metric("tickwire_feed_last_event_age_seconds", "gauge", "Since the event time of the feed's newest tick.", ("feed",)),
    Metric(
        "tickwire_feed_silence_ratio",
        "gauge",
        "Silence of the feed in open hours, in units of its cadence.",
        ("feed",),
    ),
    Metric("tickwire_feed_ticks_total", "counter", "Ticks of the feed that were accepted.", ("feed",)),
    Metric("tickwire_feed_rejected_total", "counter", "Ticks of the feed that were refused.", ("feed",)),
    Metric("tickwire_feed_lost_total", "counter", "Ticks of the feed that could not be published.", ("feed",)),
    Metric("tickwire_feed_reconnects_total", "counter", "Reconnects of the feed, or polls that failed.", ("feed",)),
    Metric("tickwire_feed_waiting", "gauge", "Ticks of the feed that wait to be published.", ("feed",)),
    Metric("tickwire_beat_age_seconds", "gauge", "Since Celery beat's last tick was carried out."),
    Metric("tickwire_queue_depth", "gauge", "Tasks that wait for a worker."),
    Metric("tickwire_processes", "gauge", "Processes that report, by role.", ("role",)),
    Metric("tickwire_alerts_firing", "gauge", "Alerts that fire, by severity.", ("severity",)),
    Metric("tickwire_alerts_age_seconds", "gauge", "Since the alert rules were last evaluated."),
    Metric("tickwire_undelivered_notifications", "gauge", "Messages about alerts that failed, and wait or were given up."),
)
METRICS: dict[str, Metric] = {metric.name: metric for metric in (*SERVING, *PROCESS, *CELERY, *INSTALLATION)}
