"""Reads of the store for those who wait for the answer, behind circuit breakers; writers and repairs ask the store itself."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from marketdata.breaker import Breaker
from marketdata.errors import StoreUnavailable
from marketdata.store import AsyncStore, History, Stamped, Store

logger = logging.getLogger(__name__)


def store_breaker(what: str) -> Breaker:
    """A breaker before something that needs Redis."""
    return Breaker(what, logger, StoreUnavailable, lambda: StoreUnavailable("Redis did not answer a moment ago"))


class Reads:
    """What views ask of a store. While it does not answer, all but one caller a second are told so at once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.breaker = store_breaker("reading the store for REST")

    def latest(self, topics: Sequence[str]) -> list[Stamped | None]:
        """See `Store.latest`."""
        with self.breaker.asking():
            return self.store.latest(topics)

    def as_of(self, topics: Sequence[str], until_us: int) -> list[Stamped | None]:
        """See `Store.as_of`."""
        with self.breaker.asking():
            return self.store.as_of(topics, until_us)

    def history(self, topic: str, **which: Any) -> History:
        """See `Store.history`."""
        with self.breaker.asking():
            return self.store.history(topic, **which)


class AsyncReads:
    """What commands ask of a store; see `Reads`."""

    def __init__(self, store: AsyncStore) -> None:
        self.store = store
        self.breaker = store_breaker("reading the store for commands")

    async def latest(self, topics: Sequence[str]) -> list[Stamped | None]:
        """See `Store.latest`."""
        with self.breaker.asking():
            return await self.store.latest(topics)

    async def as_of(self, topics: Sequence[str], until_us: int) -> list[Stamped | None]:
        """See `Store.as_of`."""
        with self.breaker.asking():
            return await self.store.as_of(topics, until_us)

    async def history(self, topic: str, **which: Any) -> History:
        """See `Store.history`."""
        with self.breaker.asking():
            return await self.store.history(topic, **which)

    async def close(self) -> None:
        """Close the store."""
        await self.store.close()
