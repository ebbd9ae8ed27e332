"""The observer of a serving process: its canary, its latency probe, and the report that it writes once a second."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable

from django.conf import settings

from marketdata.errors import StoreUnavailable
from marketdata.kept import KeptTask
from marketdata.loops import PerLoop
from marketdata.outage import Outage
from marketdata.redis_errors import areachable
from monitoring import reports
from monitoring.canary import Canary
from monitoring.latency import LatencyProbe
from monitoring.process import garbage
from monitoring.reports import Identity, Report
from monitoring.samples import Sample, sample
from monitoring.serving import serving_samples
from realtime.node import Node

logger = logging.getLogger(__name__)

TELLING_S = 2.0  # for Redis, while somebody waits
HEARD_S = 60.0  # what was wrong with the database so long ago need not be any more


class Heard:
    """What was last heard of the database, which only those who probe readiness ask for its own sake."""

    def __init__(self) -> None:
        self._failure, self._at = "", 0.0

    def note(self, failure: str, at: float) -> None:
        """What is wrong with it, empty where nothing is, at a loop time."""
        self._failure, self._at = failure, at

    def failure(self, now: float) -> str:
        """What was wrong with it lately; empty where nothing was, or nobody asked."""
        return self._failure if now - self._at < HEARD_S else ""


class Watch:
    """Of one serving process.

    Attributes:
        canary, latency, database: what they are called.
        task: what reports.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.canary = Canary(node)
        self.latency = LatencyProbe(node)
        self.database = Heard()
        self.identity = Identity(node.name, "web", node.started_us, settings.TICKWIRE.serving.public_address)
        self.task = KeptTask("report", self._run, logger)
        self._outage = Outage("reporting how this process fares", logger)
        self._round_trip_s: float | None = None
        self._writing = asyncio.Lock()  # so that no older report replaces a newer one

    @classmethod
    async def make(cls) -> Watch:
        """Watch the node of the running event loop from now on."""
        watch = cls(await Node.here())
        garbage.start()
        if settings.TICKWIRE.observing.reporting:
            watch.latency.task.start()
            watch.task.start()
        return watch

    async def _run(self) -> None:
        while True:
            await self.write()
            await asyncio.sleep(reports.EVERY_S)

    async def write(self) -> None:
        """Report once."""
        try:
            await self._write()
        except StoreUnavailable as error:
            self._outage.failed(error)
        else:
            self._outage.over()

    async def tell(self) -> Report:
        """Report once more, for somebody who asks now.

        Raises:
            StoreUnavailable: Redis did not take it in time.
        """
        try:
            async with asyncio.timeout(TELLING_S):
                return await self._write()
        except TimeoutError:
            raise StoreUnavailable("Redis does not answer") from None

    async def _write(self) -> Report:
        client = self.node.hub.store.client
        async with self._writing, areachable(client):
            if self._round_trip_s is None:  # nobody knows yet, or it was away: the report is not to say what is no longer so
                await self._timed(client.ping())
            report = self.report()
            async with client.pipeline(transaction=False) as pipe:
                reports.write(pipe, self.node.hub.layout.prefix, report)
                await self._timed(pipe.execute())
            return report

    async def _timed(self, answer: Awaitable[object]) -> None:
        began, self._round_trip_s = time.perf_counter(), None
        await answer
        self._round_trip_s = time.perf_counter() - began

    def report(self, *, away: bool = False) -> Report:
        """How this process fares now.

        Args:
            away: Redis was found to be, just now.
        """
        hub, round_trip_s = self.node.hub, None if away else self._round_trip_s
        return self.identity.report(
            [
                *serving_samples(self.canary, self.latency),
                *_redis(round_trip_s),
                sample("tickwire_ready", not self.failed()),
            ],
            load=min(1.0, len(hub.connections) / settings.TICKWIRE.serving.max_connections + max(hub.lags_us) / 1e6),
            connections=len(hub.connections),
            draining=self.node.draining,
        )

    def failed(self) -> dict[str, str]:
        """Why the process should get no traffic, as far as that is known without asking anybody."""
        failed, age = {}, self.canary.age_s
        if not self.canary.alive:
            failed["canary"] = (
                f"no message came back through Redis for {age:.0f} s" if age else "none came back through Redis yet"
            )
        if not self.node.keeper.alive:
            failed["keeper"] = "housekeeping fails; see the log"
        if wrong := self.database.failure(self.node.hub.time()):
            failed["database"] = wrong
        if self.node.draining:
            failed["draining"] = "this process is stopping"
        return failed

    async def stop(self) -> None:
        """Watch no longer."""
        await self.task.stop()
        await self.latency.task.stop()
        await self.canary.stop()
        garbage.stop()


def _redis(round_trip_s: float | None) -> list[Sample]:
    """Whether the report before this one was taken, and how soon."""
    if round_trip_s is None:
        return [sample("tickwire_redis_up", 0)]
    return [sample("tickwire_redis_up", 1), sample("tickwire_redis_round_trip_seconds", round_trip_s)]


watches = PerLoop(Watch.make, Watch.stop)
