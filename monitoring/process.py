"""What every process measures of itself, whatever its role: memory, files, garbage, Redis, the database."""

from __future__ import annotations

import gc
import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis
from django.db import connection

from marketdata import database, kept
from marketdata.histogram import Histogram
from marketdata.publisher import published
from marketdata.views import reads
from monitoring.logs import unwritten
from monitoring.metrics import PAUSE_S
from monitoring.queries import queries
from monitoring.reports import PYTHON
from monitoring.samples import Buckets, Sample, buckets, by_label, sample
from realtime.node import VERSION
from realtime.overload import resident_bytes


class GarbageWatch:
    """Times the collections of this process; it is told by the collector itself."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.pauses = Histogram(PAUSE_S)
        self._clock = clock
        self._began = 0.0

    def start(self) -> None:
        """Watch from now on."""
        if self._noted not in gc.callbacks:
            gc.callbacks.append(self._noted)

    def stop(self) -> None:
        """Watch no longer."""
        if self._noted in gc.callbacks:
            gc.callbacks.remove(self._noted)

    def _noted(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._began = self._clock()
        elif self._began:
            self.pauses.observe(self._clock() - self._began)


garbage = GarbageWatch()
_BEGAN = time.monotonic()


def own_samples() -> Iterator[Sample | Buckets]:
    """Memory, files, garbage, queries, tasks, log lines and breakers of this process, without asking anybody."""
    yield sample("tickwire_build_info", 1, version=VERSION, python=PYTHON)
    yield sample("tickwire_uptime_seconds", time.monotonic() - _BEGAN)
    yield sample("tickwire_memory_bytes", resident_bytes())
    yield sample("tickwire_open_descriptors", len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0)
    yield sample("tickwire_most_descriptors", resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    yield sample("tickwire_updates_published_total", published.updates)
    yield sample("tickwire_database_queries_total", queries.sent)
    yield buckets("tickwire_gc_pause_seconds", garbage.pauses)
    yield from by_label("tickwire_database_pool_connections", "state", _pool().items())
    yield from by_label("tickwire_task_deaths_total", "task", list(kept.deaths.items()))
    yield from by_label("tickwire_log_lines_unwritten_total", "why", unwritten.items())
    breakers = {"database": database.breaker, "rest": reads().breaker}
    yield from by_label("tickwire_breaker_open", "what", ((name, each.state != "closed") for name, each in breakers.items()))


def _pool() -> dict[str, float]:
    """How many connections of the pool are there, and how many of them wait for work; nothing without a pool."""
    pool: Any = getattr(connection, "pool", None)
    if pool is None:
        return {}
    stats = pool.get_stats()
    return {
        "open": stats.get("pool_size", 0),
        "idle": stats.get("pool_available", 0),
        "awaited": stats.get("requests_waiting", 0),
    }


def ask_redis(client: redis.Redis) -> tuple[Sample, ...]:
    """Whether Redis answers, and how soon."""
    began = time.perf_counter()
    try:
        client.ping()
    except (redis.RedisError, OSError):
        return (sample("tickwire_redis_up", 0),)
    return (sample("tickwire_redis_up", 1), sample("tickwire_redis_round_trip_seconds", time.perf_counter() - began))
