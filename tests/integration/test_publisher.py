"""The publishers on a real Redis: one command a batch, safe after a fork, and nothing left over."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from marketdata.layout import Layout
from marketdata.publisher import AsyncPublisher, Publisher, published
from marketdata.store import AsyncStore, Store
from marketdata.ticks import Quote
from tests.integration import forked_publishers, prefork_app
from tests.integration.processes import Copy, migrate, until
from tests.running import ROOT

BATCH = [Quote(symbol=f"S{number % 10}", ts=number, bid="1", bid_size="1", ask="2", ask_size="1") for number in range(100)]
CALLS = 1000  # of a hundred updates each


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


# One command


class Overheard:
    """The commands that Redis is sent, but for what scripts do by themselves."""

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(url)
        self.monitor = self.client.monitor()

    def __enter__(self) -> Overheard:
        self.monitor.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.monitor.__exit__()
        self.client.close()

    def commands(self, prefix: str) -> list[str]:
        """Names of those so far in which the prefix occurs."""
        self.client.echo("the end")
        found = []
        while "the end" not in (heard := self.monitor.next_command())["command"]:
            if heard["client_type"] != "lua" and prefix in heard["command"]:
                found.append(heard["command"].partition(" ")[0])
        return found


def test_a_batch_from_synchronous_code_is_one_command(publisher: Publisher, redis_url: str, prefix: str) -> None:
    publisher.publish(BATCH)
    with Overheard(redis_url) as overheard:
        publisher.publish(BATCH)
        assert overheard.commands(prefix) == ["EVALSHA"]


async def test_a_batch_from_asynchronous_code_is_one_command(
    async_publisher: AsyncPublisher, redis_url: str, prefix: str
) -> None:
    await async_publisher.publish(BATCH)
    with Overheard(redis_url) as overheard:
        await async_publisher.publish(BATCH)
        assert overheard.commands(prefix) == ["EVALSHA"]


# Forks


def test_a_publisher_used_before_a_fork_serves_parent_and_children_at_once(redis_url: str, prefix: str) -> None:
    program = [sys.executable, "-m", "tests.integration.forked_publishers", redis_url, prefix]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    store = Store(redis_url, Layout(prefix))
    updates = store.history(f"trade.{forked_publishers.SHARED}", limit=10_000).updates
    store.close()
    assert (
        len(updates) == len({update.body for update in updates}) == (forked_publishers.CHILDREN + 2) * forked_publishers.BATCHES
    )


@pytest.fixture
def copy(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, redis_url: str, prefix: str) -> Iterator[Copy]:
    found = Copy(tmp_path, migrate(tmp_path_factory.mktemp("migrated")), redis_url, prefix)
    yield found
    found.close()


PREFORK = ("worker", "--pool", "prefork", "--concurrency", "4", "--loglevel", "INFO", "--without-gossip", "--without-mingle")


def test_a_store_used_before_celery_forks_serves_all_of_its_processes(copy: Copy) -> None:
    run = copy.celery(*PREFORK, app="tests.integration.prefork_app")
    total = (prefork_app.TASKS + 1) * prefork_app.BATCHES
    until(lambda: copy.seq(prefork_app.SHARED) == total or "Traceback" in run.output)
    own = [copy.seq(f"trade.{name}") for name in ("PARENT", *(f"TASK{number}" for number in range(prefork_app.TASKS)))]
    assert own == [prefork_app.BATCHES] * (prefork_app.TASKS + 1)
    pids = {json.loads(update.body)["pid"] for update in copy.store.history(prefork_app.SHARED).updates}
    assert len(pids) > 2
    run.process.terminate()
    assert run.end() == 0
    assert "Traceback" not in run.output


def test_forked_workers_publish_each_trade_of_a_polled_feed_once(copy: Copy) -> None:
    runs = [copy.celery(*PREFORK), copy.celery("beat")]
    until(lambda: copy.seq("trade.000001.SZ") + copy.seq("trade.600519.SH") > 10, 60)
    for symbol in ("000001.SZ", "600519.SH"):
        ids = [int(json.loads(update.body)["id"]) for update in copy.store.history(f"trade.{symbol}").updates]
        assert ids == sorted(set(ids))
    for run in runs:
        run.process.terminate()
    assert [run.end() for run in runs] == [0, 0]


# What is left over


class Held:
    """Open files and threads of this process."""

    def __init__(self) -> None:
        self.files, self.threads = len(os.listdir("/proc/self/fd")), threading.active_count()

    def grown(self) -> tuple[int, int]:
        """How many more there are now."""
        now = Held()
        return max(0, now.files - self.files), max(0, now.threads - self.threads)


def test_a_hundred_thousand_updates_from_threads_leave_no_file_and_no_thread(publisher: Publisher) -> None:
    counted = published.updates
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(publisher.publish, [BATCH] * 64))
        before = Held()
        list(pool.map(publisher.publish, [BATCH] * CALLS))
        assert before.grown() == (0, 0)
    assert published.updates - counted == (CALLS + 64) * len(BATCH)


async def test_as_many_from_the_thread_of_an_event_loop_leave_neither(publisher: Publisher) -> None:
    publisher.publish(BATCH)
    before = Held()
    for _ in range(CALLS):
        publisher.publish(BATCH)
    assert before.grown() == (0, 0)


async def test_as_many_from_tasks_leave_neither(async_publisher: AsyncPublisher) -> None:
    async def publish(calls: int) -> None:
        for _ in range(calls):
            await async_publisher.publish(BATCH)

    await asyncio.gather(*(publish(2) for _ in range(8)))
    before = Held()
    await asyncio.gather(*(publish(CALLS // 8) for _ in range(8)))
    assert before.grown() == (0, 0)


def test_a_publisher_for_each_of_many_event_loops_leaves_neither(redis_url: str, prefix: str) -> None:
    async def once() -> None:
        publisher = AsyncPublisher(AsyncStore(redis_url, Layout(prefix)))
        await publisher.publish(BATCH[:1])
        await publisher.store.close()

    asyncio.run(once())
    before = Held()
    for _ in range(50):
        asyncio.run(once())
    assert before.grown() == (0, 0)
