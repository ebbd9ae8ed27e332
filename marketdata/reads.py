"""Reads of the store for those who wait for the answer, behind circuit breakers; writers and repairs ask the store itself."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from marketdata.breaker import Breaker
from marketdata.errors import StoreUnavailable
from marketdata.store import AsyncStore, History, Stamped, Store

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 500  # topics in one question: Redis answers nobody else for half a millisecond


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


class Gathering:
    """Asks a store for newest updates, once for all who ask while the question before is on its way.

    What one call of Redis costs is shared by those who wait together, and a topic that several ask for is read once.

    Args:
        ask: what is asked.
    """

    def __init__(self, ask: Callable[[Sequence[str]], Awaitable[list[Stamped | None]]]) -> None:
        self._ask = ask
        self._waiting: deque[tuple[Sequence[str], asyncio.Future[list[Stamped | None]]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def latest(self, topics: Sequence[str]) -> list[Stamped | None]:
        """See `Store.latest`."""
        answer: asyncio.Future[list[Stamped | None]] = asyncio.get_running_loop().create_future()
        self._waiting.append((topics, answer))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._ask_for(self._next())
        finally:
            self._task = None

    def _next(self) -> list[tuple[Sequence[str], asyncio.Future[list[Stamped | None]]]]:
        """Those who are asked for next: the first, and as many more as there is room for."""
        found = [self._waiting.popleft()]
        room = MOST_AT_ONCE - len(found[0][0])
        while self._waiting and (room := room - len(self._waiting[0][0])) >= 0:
            found.append(self._waiting.popleft())
        return found

    async def _ask_for(self, some: Sequence[tuple[Sequence[str], asyncio.Future[list[Stamped | None]]]]) -> None:
        names = list(dict.fromkeys(topic for topics, _ in some for topic in topics))
        try:
            known = dict(zip(names, await self._ask(names), strict=True))
        except Exception as error:
            for _, answer in some:
                if not answer.done():
                    answer.set_exception(error)
            return
        for topics, answer in some:
            if not answer.done():
                answer.set_result([known[topic] for topic in topics])


class AsyncReads:
    """What commands ask of a store; see `Reads`."""

    def __init__(self, store: AsyncStore) -> None:
        self.store = store
        self.breaker = store_breaker("reading the store for commands")
        self._gathering = Gathering(store.latest)

    async def latest(self, topics: Sequence[str]) -> list[Stamped | None]:
        """See `Store.latest`."""
        with self.breaker.asking():
            return await self._gathering.latest(topics)

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
