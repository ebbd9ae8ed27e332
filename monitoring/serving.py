"""What a serving process measures: connections, what they were sent, what was lost, how late it is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from monitoring.process import own_samples
from monitoring.samples import Buckets, Sample, buckets, by_label, sample

if TYPE_CHECKING:
    from monitoring.canary import Canary
    from monitoring.latency import LatencyProbe

TOTALS = {  # what the hub counts: which metric that is
    "received": "tickwire_updates_received_total",
    "delivered": "tickwire_updates_delivered_total",
    "writes": "tickwire_frames_total",
    "encodes": "tickwire_encodes_total",
    "conflated": "tickwire_conflated_total",
    "slow_notices": "tickwire_slow_notices_total",
    "slow_closed": "tickwire_slow_closes_total",
}
LABELLED = {  # the same of those that the hub counts apart, as `command:subscribe`
    "command": ("tickwire_commands_total", "op"),
    "error": ("tickwire_errors_total", "name"),
    "close": ("tickwire_closes_total", "code"),
    "gap": ("tickwire_gaps_total", "reason"),
}
# exported from the start, so that an alert sees the first one
FROM_THE_START = {"gap:broker": 0, "gap:history": 0, "gap:overflow": 0, "error:internal": 0}


def serving_samples(canary: Canary, latency: LatencyProbe) -> Iterator[Sample | Buckets]:
    """Everything about this process and its hub."""
    yield from own_samples()
    yield from _hub_samples(canary)
    yield from _counted(canary.node.hub.counts)
    yield buckets("tickwire_batch_topics", canary.node.hub.flush_sizes)
    yield buckets("tickwire_delivery_latency_seconds", latency.histogram)


def _hub_samples(canary: Canary) -> Iterator[Sample]:
    node = canary.node
    hub, loop = node.hub, asyncio.get_running_loop()
    yield sample("tickwire_connections", len(hub.connections))
    yield sample("tickwire_subscriptions", sum(len(cohort) * len(cohort.paces) for cohort in hub.cohorts))
    yield sample("tickwire_topics", len(hub.entries))
    yield sample("tickwire_slow_connections", len(hub.slow))
    sent = hub.counts["bytes_of_gone"] + sum(connection.sent_bytes for connection in hub.connections.values())
    yield sample("tickwire_sent_bytes_total", sent)
    yield sample("tickwire_event_loop_lag_seconds", hub.lags_us[-1] / 1e6)
    yield sample("tickwire_event_loop_lag_max_seconds", max(hub.lags_us) / 1e6)
    yield sample("tickwire_canary_age_seconds", loop.time() - (canary.back_at or canary.began_at))
    yield sample("tickwire_canary_latency_seconds", canary.latency_s)
    yield sample("tickwire_bus_reconnects_total", hub.bus.reconnects)
    yield sample("tickwire_overload_step", hub.counts["overload_step"])
    yield sample("tickwire_draining", node.draining)
    breakers = {"commands": node.store.breaker, "joins": hub.joins}
    yield from by_label("tickwire_breaker_open", "what", ((name, each.state != "closed") for name, each in breakers.items()))


def _counted(counts: Mapping[str, int]) -> Iterator[Sample]:
    for name, metric in TOTALS.items():
        yield sample(metric, counts.get(name, 0))
    for name, count in (FROM_THE_START | dict(counts)).items():
        kind, colon, value = name.partition(":")
        if colon and kind in LABELLED:
            metric, label = LABELLED[kind]
            yield sample(metric, count, **{label: value})
    for result in ("recovered", "unrecovered"):
        yield sample("tickwire_resumes_total", counts.get(result, 0), result=result)
    yield sample("tickwire_holes_total", counts.get("healed", 0), result="healed")
    yield sample("tickwire_holes_total", counts.get("lost", 0), result="lost")
    for name, limit in (("refused_connections", "plan"), ("refused_addresses", "address"), ("refused_overload", "overload")):
        yield sample("tickwire_refused_connections_total", counts.get(name, 0), limit=limit)
