"""How long an update takes from publish to socket write, measured on a few updates a second; those are kept with their times.

The bus carries no time of publishing, because parsing it would cost every update. The store has it: of an update that was just
written to sockets it is asked afterwards, so that the data path pays for one truth test a flush.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import msgspec

from marketdata.errors import StoreUnavailable
from marketdata.histogram import Histogram
from marketdata.kept import KeptTask
from marketdata.store import Stamped
from monitoring.metrics import LATENCY_S
from realtime import orders
from realtime.hops import Hop

if TYPE_CHECKING:
    from realtime.node import Node

logger = logging.getLogger(__name__)

EVERY_S = 0.2
KEPT = 100  # updates with their times; as many of those that were asked for
Time = Annotated[int | None, msgspec.Meta(description="µs since the Unix epoch")]


class Traced(msgspec.Struct, frozen=True, kw_only=True):
    """An update with its times: the venue's, the store's, and those of a process; null is what is not known."""

    topic: str
    epoch: str
    seq: int
    node: str
    event_us: Time
    published_us: Time
    received_us: Time
    written_us: Annotated[
        int | None, msgspec.Meta(description="to sockets; null: those that follow the topic there want fewer updates")
    ]
    asked: Annotated[bool, msgspec.Meta(description="somebody asked for it; otherwise it is a sample")]


class NodeTraces(msgspec.Struct, frozen=True, kw_only=True):
    """What a process noted, and how far it is with the topic that was named: null where nobody follows it there."""

    node: str
    epoch: str | None
    seq: int | None
    traced: list[Traced]


class EventTime(msgspec.Struct, frozen=True):
    """Of a body no more than when it happened."""

    ts: int | None = None


read_event_time = msgspec.json.Decoder(EventTime).decode


class LatencyProbe:
    """Of one node; it carries out orders that ask for times.

    Attributes:
        histogram: seconds.
        samples, asked: the newest last.
        task: what asks.
    """

    def __init__(self, node: Node) -> None:
        self.hub = node.hub
        self.node = node.name
        self.histogram = Histogram(LATENCY_S)
        self.samples: deque[Traced] = deque(maxlen=KEPT)
        self.asked: deque[Traced] = deque(maxlen=KEPT)
        self.task = KeptTask("latency", self._run, logger)
        node.steward.others[orders.TraceNext] = self._trace
        node.steward.others[orders.FindHops] = self._find

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Measure the update that was written last, and have the next one noted; complete those that were asked for."""
        hops = self.hub.hops
        noted, traced = hops.next(), hops.take_traced(self.hub.time())
        try:
            if noted is not None and (stored := await self._stored(noted)) is not None and noted.written_us is not None:
                self.histogram.observe(max(0, noted.written_us - stored.published_us) / 1e6)
                self.samples.append(self._traced(noted, stored, asked=False))
            for hop in traced:
                self.asked.append(self._traced(hop, await self._stored(hop), asked=True))
        except StoreUnavailable:
            return

    async def _stored(self, hop: Hop) -> Stamped | None:
        found = await self.hub.store.history(hop.topic, from_seq=hop.seq, to_seq=hop.seq, limit=1)
        return found.updates[0] if found.epoch == hop.epoch and found.updates else None

    def _traced(self, hop: Hop, stored: Stamped | None, *, asked: bool) -> Traced:
        return Traced(
            topic=hop.topic,
            epoch=hop.epoch,
            seq=hop.seq,
            node=self.node,
            event_us=event_us(stored),
            published_us=stored.published_us if stored is not None else None,
            received_us=hop.received_us,
            written_us=hop.written_us,
            asked=asked,
        )

    def _trace(self, order: orders.TraceNext) -> bool:
        entry = self.hub.entries.get(order.topic)
        if entry is None or not entry.paces:
            return False
        self.hub.hops.trace(order.topic, self.hub.time() + order.within_s)
        return True

    def _find(self, order: orders.FindHops) -> NodeTraces:
        entry = self.hub.entries.get(order.topic or "")
        is_followed = entry is not None and entry.idle_since is None
        return NodeTraces(
            node=self.node,
            epoch=entry.epoch or None if entry is not None and is_followed else None,
            seq=entry.seq if entry is not None and is_followed else None,
            traced=list(self._fitting(order)),
        )

    def _fitting(self, order: orders.FindHops) -> Iterator[Traced]:
        for each in (*self.samples, *self.asked):
            wanted = order.topic in (None, each.topic) and order.seq in (None, each.seq)
            if wanted and order.asked in (None, each.asked):
                yield each


def event_us(stored: Stamped | None) -> int | None:
    """The venue's time of an update, if it is known."""
    return read_event_time(stored.body).ts if stored is not None else None
