"""Feeds that stand in for each other, at work: their batches go through one gate, one at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from marketdata.checks import flaw
from marketdata.errors import BadTick, StoreUnavailable
from marketdata.gate import Gate, Line, Sifted
from marketdata.ingest import MOST_AHEAD_US
from marketdata.instruments import Instruments, instruments
from marketdata.offers import Offered
from marketdata.store import Stamped, now_us
from marketdata.ticks import Tick, from_body
from marketdata.topics import Topic

ASK_AGAIN_S = 1.0

Latest = Callable[[Sequence[str]], Awaitable[Sequence[Stamped | None]]]
Publish = Callable[[Sequence[Tick]], Awaitable[Offered]]


class Relief:
    """A primary and its standbys.

    Attributes:
        gate: whose turn it is, and where the topics stand.
    """

    def __init__(
        self,
        lines: Sequence[Line],
        latest: Latest,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], int] = now_us,
        known: Instruments | None = None,
    ) -> None:
        """Take the parts.

        Args:
            lines: the feeds, the primary first.
            latest: reads the latest update of topics, as `AsyncStore.latest` does.
            clock: monotonic seconds.
            wall: µs since the Unix epoch.
            known: instruments; None: the process's own.
        """
        self.gate = Gate(lines, self._believes)
        self._known = known or instruments()
        self._latest = latest
        self._clock, self._wall = clock, wall
        self._lock = asyncio.Lock()
        self._ask_at_s = 0.0

    async def pass_on(self, name: str, ticks: Sequence[Tick], publish: Publish) -> Sifted:
        """Publish what of a feed's ticks is its turn and new.

        Args:
            name: the feed's.
            ticks: what it says; without any, what was held for it may go.
            publish: takes what goes through. Whatever it does not refuse by index has gone, or may have.
        """
        async with self._lock:
            await self._seed(ticks)
            sifted = self.gate.sift(name, ticks, self._clock())
            if sifted.through:
                await self._publish(name, sifted.through, publish)
        return sifted

    def report(self, name: str, *, well: bool) -> None:
        """A feed is well, or is not."""
        self.gate.report(name, self._clock(), well=well)

    def is_awaited(self, name: str) -> bool:
        """See `Gate.is_awaited`."""
        return self.gate.is_awaited(name, self._clock())

    def writes(self, name: str) -> int:
        """See `Gate.writes`."""
        return self.gate.writes(name, self._clock())

    async def _publish(self, name: str, ticks: Sequence[Tick], publish: Publish) -> None:
        try:
            done = await publish(ticks)
        except BaseException:  # a cancellation too: Redis may have it
            self.gate.note(name, ticks)
            raise
        refused = {each.index for each in done.rejected}
        # What waits was not looked at yet; a time that ingest will refuse must not bind us.
        self.gate.note(name, [tick for index, tick in enumerate(ticks) if index not in refused and not self._is_ahead(tick)])

    def _believes(self, tick: Tick) -> bool:
        """Whether ingest would take a tick. Those of instruments that are switched off are refused there, but are no rubbish."""
        is_listed = not self._known.loaded or self._known.find(tick.symbol) is not None
        return is_listed and not self._is_ahead(tick) and not flaw(tick)

    def _is_ahead(self, tick: Tick) -> bool:
        return tick.ts > self._wall() + MOST_AHEAD_US

    async def _seed(self, ticks: Sequence[Tick]) -> None:
        """Ask the store where topics stand that this process has not seen. While Redis is away they begin without."""
        unknown = self.gate.unknown(ticks)
        if not unknown or self._clock() < self._ask_at_s:
            return
        try:
            found = await self._latest([str(topic) for topic in unknown])
        except StoreUnavailable:  # publishing will say so
            self._ask_at_s = self._clock() + ASK_AGAIN_S
            return
        for topic, stamped in zip(unknown, found, strict=True):
            self.gate.seed(topic, _read(topic, stamped))


def _read(topic: Topic, stamped: Stamped | None) -> Tick | None:
    try:
        return from_body(topic.type, stamped.body) if stamped else None
    except BadTick:  # of another version; the next update puts that right
        return None
