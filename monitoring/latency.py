"""How long an update takes from publish to socket write, measured on a few updates a second.

The bus carries no time of publishing, because parsing it would cost every update. The store has it: of an update that was just
written to sockets it is asked afterwards, so that the data path pays for one truth test a flush.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from marketdata.errors import StoreUnavailable
from marketdata.histogram import Histogram
from marketdata.kept import KeptTask
from monitoring.metrics import LATENCY_S

if TYPE_CHECKING:
    from realtime.hub import Hub

logger = logging.getLogger(__name__)

EVERY_S = 0.2


class LatencyProbe:
    """Of one hub.

    Attributes:
        histogram: seconds.
        task: what asks.
    """

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.histogram = Histogram(LATENCY_S)
        self.task = KeptTask("latency", self._run, logger)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Measure the update that was written last, and have the next one noted."""
        written, self.hub.written = self.hub.written, None
        self.hub.notes_next = True
        if written is None:
            return
        topic, epoch, seq, at_us = written
        try:
            found = await self.hub.store.history(topic, from_seq=seq, to_seq=seq, limit=1)
        except StoreUnavailable:
            return
        if found.epoch == epoch and found.updates:
            self.histogram.observe(max(0, at_us - found.updates[0].published_us) / 1e6)
