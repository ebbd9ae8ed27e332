"""Has a process say once a second how it fares: serving processes from their event loop, all others from a thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

import redis
from django.conf import settings

from marketdata import dial
from marketdata.outage import Outage
from monitoring import reports
from monitoring.process import ask_redis, garbage, own_samples
from monitoring.reports import Identity, Role
from monitoring.samples import Buckets, Sample

logger = logging.getLogger(__name__)

WAIT_S = 1.0  # for Redis


class ThreadReporter:
    """Reports for a process without an event loop of ours, or beside one.

    Args:
        role: of the process.
        more: what it measures beside what every process does.
    """

    def __init__(self, role: Role, more: Callable[[], Iterable[Sample | Buckets]] = tuple) -> None:
        self.identity = Identity.here(role)
        self._more = more
        self._client = dial.client(settings.TICKWIRE.redis_url, WAIT_S)
        self._outage = Outage("reporting how this process fares", logger)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def start(self) -> None:
        """Report from now on; a process that ends takes its reporter with it."""
        garbage.start()
        if settings.TICKWIRE.observing.reporting:
            self._thread.start()

    def stop(self) -> None:
        """Report no longer."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(2 * WAIT_S)

    def _run(self) -> None:
        while not self._stopping.wait(reports.EVERY_S):
            self.report()

    def report(self) -> None:
        """Report once."""
        report = self.identity.report([*own_samples(), *ask_redis(self._client), *self._more()])
        try:
            with self._client.pipeline(transaction=False) as pipe:
                reports.write(pipe, settings.TICKWIRE.bus.prefix, report)
                pipe.execute()
        except (redis.RedisError, OSError) as error:
            self._outage.failed(error)
        else:
            self._outage.over()
