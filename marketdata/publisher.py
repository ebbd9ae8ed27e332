"""The only way a tick leaves the domain.

A batch is encoded once (`ticks.body`) and becomes one call of `publish.lua`. The synchronous publisher serves Celery tasks and
views, the asynchronous one the feed process; both are thin, because the store does the work.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Self

from marketdata.batch import Mark, State, Update
from marketdata.memory_store import MemoryStore
from marketdata.store import AsyncStore, Store
from marketdata.ticks import Tick, Trade, body


def _updates(ticks: Sequence[Tick]) -> list[Update]:
    return [Update(str(tick.topic), body(tick), tick.id if type(tick) is Trade else "") for tick in ticks]


def _ids(trades: Sequence[Trade]) -> list[tuple[str, str]]:
    return [(str(trade.topic), trade.id) for trade in trades]


class Published:
    """Counts what this process has published, by whichever publisher and in whichever thread.

    Attributes:
        updates: so far.
    """

    def __init__(self) -> None:
        self.updates = 0
        self._lock = threading.Lock()

    def add(self, updates: int) -> None:
        """Some more were published."""
        with self._lock:
            self.updates += updates


published = Published()


class Publisher:
    """Publishes from synchronous code."""

    def __init__(self, store: Store | MemoryStore) -> None:
        self.store = store

    @classmethod
    def from_settings(cls) -> Self:
        """The publisher of this installation."""
        return cls(Store.from_settings())

    def publish(self, ticks: Sequence[Tick], states: Sequence[State] = (), mark: Mark | None = None) -> list[int]:
        """Publish a batch in one step; see `Store.publish` for returns and errors."""
        seqs = self.store.publish(_updates(ticks), states, mark)
        published.add(len(seqs))
        return seqs

    def known(self, trades: Sequence[Trade]) -> list[bool]:
        """Whether each was published lately, see `Store.known`."""
        return self.store.known(_ids(trades))

    def load(self, keys: Sequence[str]) -> list[State]:
        """Read states, see `Store.load`."""
        return self.store.load(keys)


class AsyncPublisher:
    """Publishes from asynchronous code."""

    def __init__(self, store: AsyncStore) -> None:
        self.store = store

    @classmethod
    def from_settings(cls) -> Self:
        """The publisher of this installation."""
        return cls(AsyncStore.from_settings())

    async def publish(self, ticks: Sequence[Tick], states: Sequence[State] = (), mark: Mark | None = None) -> list[int]:
        """Publish a batch in one step; see `Store.publish` for returns and errors."""
        seqs = await self.store.publish(_updates(ticks), states, mark)
        published.add(len(seqs))
        return seqs

    async def known(self, trades: Sequence[Trade]) -> list[bool]:
        """Whether each was published lately, see `Store.known`."""
        return await self.store.known(_ids(trades))

    async def load(self, keys: Sequence[str]) -> list[State]:
        """Read states, see `Store.load`."""
        return await self.store.load(keys)
