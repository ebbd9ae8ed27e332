"""Celery's part of the observer: how long tasks take, which fail, and that beat's ticks are carried out."""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import redis
from celery import current_app, signals
from django.conf import settings

from marketdata import dial
from marketdata.histogram import Histogram
from marketdata.outage import Outage
from marketdata.tasks import publish_market_data
from monitoring.installation import note_beat
from monitoring.metrics import LATENCY_S
from monitoring.reporter import WAIT_S, ThreadReporter
from monitoring.samples import Buckets, Sample, buckets, by_label, sample

logger = logging.getLogger(__name__)


class Labour:
    """Watches the tasks of one worker; Celery calls it from the threads that carry them out."""

    def __init__(self) -> None:
        self.times: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(LATENCY_S))
        self.failures: Counter[str] = Counter({_short(name): 0 for name in current_app.tasks if not name.startswith("celery.")})
        self.overruns = 0  # ticks of beat that took longer than the pause between two
        self._begun: dict[str, float] = {}
        self._client = dial.client(settings.TICKWIRE.redis_url, WAIT_S)
        self._outage = Outage("noting that beat's ticks are carried out", logger)

    def connect(self) -> None:
        """Be told of every task."""
        signals.task_prerun.connect(self.began, weak=False)
        signals.task_postrun.connect(self.ended, weak=False)
        signals.task_failure.connect(self.failed, weak=False)

    def began(self, task_id: str, task: Any, **_: Any) -> None:
        """A task begins."""
        self._begun[task_id] = time.perf_counter()
        if task.name == publish_market_data.name:
            self._note_beat()

    def ended(self, task_id: str, task: Any, **_: Any) -> None:
        """A task is over, however it went."""
        began = self._begun.pop(task_id, None)
        if began is None:
            return
        took_s = time.perf_counter() - began
        self.times[_short(task.name)].observe(took_s)
        if task.name == publish_market_data.name and took_s > settings.TICKWIRE.sources.poll_tick_s:
            self.overruns += 1

    def failed(self, sender: Any, **_: Any) -> None:
        """A task raised."""
        self.failures[_short(sender.name)] += 1

    def samples(self) -> Iterator[Sample | Buckets]:
        """What was seen so far."""
        for name, times in list(self.times.items()):
            yield buckets("tickwire_task_duration_seconds", times, task=name)
        yield sample("tickwire_publisher_overruns_total", self.overruns)
        yield from by_label("tickwire_task_failures_total", "task", list(self.failures.items()))

    def _note_beat(self) -> None:
        try:
            note_beat(self._client, settings.TICKWIRE.bus.prefix)
        except (redis.RedisError, OSError) as error:
            self._outage.failed(error)
        else:
            self._outage.over()


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def watch_worker() -> ThreadReporter:
    """Watch this worker's tasks, and report."""
    labour = Labour()
    labour.connect()
    reporter = ThreadReporter("worker", labour.samples)
    reporter.start()
    return reporter


def watch_beat() -> ThreadReporter:
    """Report for beat."""
    reporter = ThreadReporter("beat")
    reporter.start()
    return reporter
