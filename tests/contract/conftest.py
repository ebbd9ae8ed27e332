"""The store in each of its forms: what holds for one holds for all."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest

from marketdata.layout import Layout
from marketdata.memory_store import MemoryStore
from marketdata.store import AsyncStore, Store

TRADE_IDS = 100


class Awaited:
    """A store whose every method is awaited, whichever it is."""

    def __init__(self, store: Any) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            found = getattr(self.store, name)(*args, **kwargs)
            return await found if inspect.isawaitable(found) else found

        return call


@pytest.fixture(params=["sync", "async", "memory"])
async def store(request: pytest.FixtureRequest, redis_url: str, prefix: str) -> AsyncIterator[Any]:
    layout = Layout(prefix, history=50, trade_ids=TRADE_IDS)
    if request.param == "memory":
        yield Awaited(MemoryStore(layout))
        return
    kind = Store if request.param == "sync" else AsyncStore
    found = Awaited(kind(redis_url, layout))
    yield found
    await found.close()
