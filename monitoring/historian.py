"""Keeps the history of the installation: one serving process takes an overview each second and saves ten of them at once.

A serving process and not Celery, because history is read most when something is broken, and a worker or beat that is dead must
not take it along; and because a rate needs the second before, which a process remembers and a task does not.

Rules of this file:
1. One process at a time writes: who has the lease. A process that dies is followed by another within `LEASE_MS`.
2. Nothing of it happens in the event loop: Redis and the database are asked in a thread of its own.
3. While the database is away `MOST_WAITING` seconds wait, and older ones are lost. While Redis is away there is nothing to keep.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from channels.db import database_sync_to_async
from django import db

from marketdata.errors import StoreUnavailable
from marketdata.kept import KeptTask
from marketdata.leases import Lease, Leases
from marketdata.loops import PerLoop
from marketdata.outage import Outage
from monitoring import rollups
from monitoring.installation import Snapshot
from monitoring.overview import Overviews
from monitoring.registry import store
from monitoring.rollups import Moment

logger = logging.getLogger(__name__)

EVERY_S = 1.0
LEASE = "historian"
LEASE_MS, LEASE_EVERY_S = 15_000, 5.0
SAVED_AT_ONCE = 10
MOST_WAITING = 600
STOP_S = 2.0


class Historian:
    """Of one serving process.

    Attributes:
        task: what does it.
        waiting: moments that are not saved yet.
    """

    def __init__(self) -> None:
        self.task = KeptTask("historian", self._run, logger)
        self.waiting: deque[Moment] = deque(maxlen=MOST_WAITING)
        self._leases = Leases(store())
        self._lease: Lease | None = None
        self._lease_at = -LEASE_EVERY_S
        self._overviews = Overviews()
        self._pruned_at = 0
        self._outage = Outage("keeping the installation's history", logger)
        self._thread = ThreadPoolExecutor(1, "historian")

    @classmethod
    async def make(cls) -> Historian:
        """Keep history from now on, whenever no other process does."""
        historian = cls()
        historian.task.start()
        return historian

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await database_sync_to_async(self.step, thread_sensitive=False, executor=self._thread)()
            await asyncio.sleep(max(0.0, began + EVERY_S - loop.time()))

    def step(self) -> None:
        """Look once, and save when there is enough."""
        try:
            if self._may():
                self._look()
                if len(self.waiting) >= SAVED_AT_ONCE:
                    self.save()
        except (StoreUnavailable, db.Error) as error:
            self._outage.failed(error)
        else:
            self._outage.over()

    def _may(self) -> bool:
        """Whether this process has the lease. Raises `StoreUnavailable`."""
        if time.monotonic() - self._lease_at < LEASE_EVERY_S:
            return self._lease is not None
        self._lease_at = time.monotonic()
        if self._lease is None or not self._leases.renew(self._lease, LEASE_MS):
            self._lease = self._leases.take(LEASE, LEASE_MS)
        return self._lease is not None

    def _look(self) -> None:
        overview = self._overviews.of(Snapshot.take(store()))
        second = overview.at // 1_000_000
        if not self.waiting or self.waiting[-1].at < second:
            self.waiting.append(Moment(second, overview.values))

    def save(self) -> None:
        """Write what waits, and once a minute make minutes and let go of what is old. Raises what Django's database raises."""
        if not self.waiting:
            return
        now_s = self.waiting[-1].at
        rollups.save(rollups.SECOND, self.waiting)
        self.waiting.clear()
        if now_s // rollups.MINUTE > self._pruned_at // rollups.MINUTE:
            rollups.roll_up(now_s)
            rollups.prune(now_s)
            self._pruned_at = now_s

    def _end(self) -> None:
        with suppress(StoreUnavailable, db.Error):
            self.save()
        if self._lease is not None:
            with suppress(StoreUnavailable):
                self._leases.give_back(self._lease, "")

    async def stop(self) -> None:
        """Write what waits, for `STOP_S` at most, and let another process go on."""
        await self.task.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await database_sync_to_async(self._end, thread_sensitive=False, executor=self._thread)()


historians = PerLoop(Historian.make, Historian.stop)
