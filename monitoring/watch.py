"""The observer of a serving process: its canary, its latency probe, and the report that it writes once a second."""

from __future__ import annotations

import asyncio
import logging
import time

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
from monitoring.traffic import Traffic
from realtime.node import Node

logger = logging.getLogger(__name__)


class Watch:
    """Of one serving process.

    Attributes:
        canary, latency, traffic: what they are called.
        task: what reports.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.canary = Canary(node)
        self.latency = LatencyProbe(node)
        self.traffic = Traffic()
        self.identity = Identity(node.name, "web", node.started_us, settings.TICKWIRE.serving.public_address)
        self.task = KeptTask("report", self._run, logger)
        self._outage = Outage("reporting how this process fares", logger)
        self._round_trip_s: float | None = None

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
        client, began = self.node.hub.store.client, time.perf_counter()
        try:
            async with areachable(client), client.pipeline(transaction=False) as pipe:
                reports.write(pipe, self.node.hub.layout.prefix, self.report())
                await pipe.execute()
        except StoreUnavailable as error:
            self._round_trip_s = None
            self._outage.failed(error)
        else:
            self._round_trip_s = time.perf_counter() - began
            self._outage.over()

    def report(self) -> Report:
        """How this process fares now."""
        hub = self.node.hub
        return self.identity.report(
            [
                *serving_samples(self.canary, self.latency, self.traffic),
                *self._redis(),
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
        if self.node.draining:
            failed["draining"] = "this process is stopping"
        return failed

    def _redis(self) -> list[Sample]:
        """Whether the report before this one was taken, and how soon."""
        if self._round_trip_s is None:
            return [sample("tickwire_redis_up", 0)]
        return [sample("tickwire_redis_up", 1), sample("tickwire_redis_round_trip_seconds", self._round_trip_s)]

    async def stop(self) -> None:
        """Watch no longer."""
        await self.task.stop()
        await self.latency.task.stop()
        await self.canary.stop()
        garbage.stop()


watches = PerLoop(Watch.make, Watch.stop)
