"""A hundred thousand publishes, one by one, leave no open file and no thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from marketdata.layout import Layout
from marketdata.publisher import AsyncPublisher, Publisher
from marketdata.store import AsyncStore, Store
from marketdata.ticks import Quote
from tests.integration.test_publisher import Held
from tests.soak.conftest import report

pytestmark = [pytest.mark.soak, pytest.mark.timeout(240)]

CALLS, THREADS = 100_000, 8
ONE = [Quote(symbol="S0001", ts=1, bid="1", bid_size="1", ask="2", ask_size="1")]


class Watch:
    """What a run took, and what it left over."""

    def __init__(self) -> None:
        self.held, self.begun = Held(), time.monotonic()

    def report(self, way: str) -> None:
        files, threads = self.held.grown()
        report(
            "publishes", way=way, calls=CALLS, per_s=round(CALLS / (time.monotonic() - self.begun)), files=files, threads=threads
        )
        assert (files, threads) == (0, 0)


@pytest.fixture
def publisher(redis_url: str, prefix: str) -> Iterator[Publisher]:
    store = Store(redis_url, Layout(prefix))
    yield Publisher(store)
    store.close()


@pytest.fixture
async def async_publisher(redis_url: str, prefix: str) -> AsyncIterator[AsyncPublisher]:
    store = AsyncStore(redis_url, Layout(prefix))
    yield AsyncPublisher(store)
    await store.close()


def publish(publisher: Publisher, calls: int) -> None:
    for _ in range(calls):
        publisher.publish(ONE)


def test_from_threads(publisher: Publisher) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(publish, [publisher] * THREADS, [50] * THREADS))
        watch = Watch()
        list(pool.map(publish, [publisher] * THREADS, [CALLS // THREADS] * THREADS))
        watch.report("threads")


async def test_from_the_thread_of_an_event_loop(publisher: Publisher) -> None:
    publish(publisher, 50)
    watch = Watch()
    publish(publisher, CALLS)
    watch.report("inside an event loop")


async def test_from_tasks(async_publisher: AsyncPublisher) -> None:
    async def run(calls: int) -> None:
        for _ in range(calls):
            await async_publisher.publish(ONE)

    await asyncio.gather(*(run(50) for _ in range(THREADS)))
    watch = Watch()
    await asyncio.gather(*(run(CALLS // THREADS) for _ in range(THREADS)))
    watch.report("tasks")
