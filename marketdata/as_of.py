"""The store as it was at a moment, for readers whose plan has a delay: nothing that was published later is seen.

What was published by then and is no longer kept is not seen either: a delay may go back further than the history of a busy topic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from marketdata.store import NO_EPOCH, History, Stamped


class Reading(Protocol):
    """Whoever can be asked as a store is."""

    def as_of(self, topics: Sequence[str], until_us: int) -> list[Stamped | None]:
        """See `marketdata.store.Store.as_of`."""

    def history(
        self, topic: str, *, from_seq: int = 1, to_seq: int | None = None, limit: int = 1000, newest: bool = False
    ) -> History:
        """See `marketdata.store.Store.history`."""


class AsyncReading(Protocol):
    """The same, asynchronously."""

    async def as_of(self, topics: Sequence[str], until_us: int) -> list[Stamped | None]:
        """See `marketdata.store.Store.as_of`."""

    async def history(
        self, topic: str, *, from_seq: int = 1, to_seq: int | None = None, limit: int = 1000, newest: bool = False
    ) -> History:
        """See `marketdata.store.Store.history`."""


class AsOf:
    """What views ask of a store, as it was then.

    Args:
        reads: the store, or what stands before it.
        until_us: that moment, microseconds since the Unix epoch.
    """

    def __init__(self, reads: Reading, until_us: int) -> None:
        self.reads = reads
        self.until_us = until_us

    def latest(self, topics: Sequence[str]) -> list[Stamped | None]:
        """The updates that were the newest; see `Store.as_of`."""
        return self.reads.as_of(topics, self.until_us)

    def history(
        self, topic: str, *, from_seq: int = 1, to_seq: int | None = None, limit: int = 1000, newest: bool = False
    ) -> History:
        """See `Store.history`. Costs two round trips."""
        (end,) = self.reads.as_of([topic], self.until_us)
        if end is None:
            return History(NO_EPOCH, [])
        last = _earlier(to_seq, end.seq)
        return _seen(end, self.reads.history(topic, from_seq=from_seq, to_seq=last, limit=limit, newest=newest), self.until_us)


class AsyncAsOf:
    """What commands ask of a store, as it was then; see `AsOf`."""

    def __init__(self, reads: AsyncReading, until_us: int) -> None:
        self.reads = reads
        self.until_us = until_us

    async def latest(self, topics: Sequence[str]) -> list[Stamped | None]:
        """See `AsOf.latest`."""
        return await self.reads.as_of(topics, self.until_us)

    async def history(
        self, topic: str, *, from_seq: int = 1, to_seq: int | None = None, limit: int = 1000, newest: bool = False
    ) -> History:
        """See `AsOf.history`."""
        (end,) = await self.reads.as_of([topic], self.until_us)
        if end is None:
            return History(NO_EPOCH, [])
        last = _earlier(to_seq, end.seq)
        found = await self.reads.history(topic, from_seq=from_seq, to_seq=last, limit=limit, newest=newest)
        return _seen(end, found, self.until_us)


def _earlier(to_seq: int | None, seq: int) -> int:
    return seq if to_seq is None else min(to_seq, seq)


def _seen(end: Stamped, found: History, until_us: int) -> History:
    """What was read up to `end`, without anything that a new epoch, or a clock that goes ahead, put among it."""
    if found.epoch != end.epoch:
        return History(NO_EPOCH, [])
    for number, update in enumerate(found.updates):
        if update.published_us > until_us:
            return History(found.epoch, found.updates[:number])
    return found
