"""What every store must do: Redis, from sync and async code, and the in-memory twin."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from marketdata.errors import Conflict, StoreUnavailable
from marketdata.store import AsyncStore, Layout, MemoryStore, State, Store, Update, read_message, write_message

QUOTE = "quote.AAPL"


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
    layout = Layout(prefix, history=50)
    if request.param == "memory":
        yield Awaited(MemoryStore(layout))
        return
    kind = Store if request.param == "sync" else AsyncStore
    found = Awaited(kind(redis_url, layout))
    yield found
    await found.close()


async def test_seq_counts_from_one_per_topic(store: Any) -> None:
    batch = [Update(QUOTE, b"1"), Update("trade.AAPL", b"2"), Update(QUOTE, b"3")]
    assert await store.publish(batch) == [1, 1, 2]
    assert await store.publish([Update(QUOTE, b"4")]) == [3]


async def test_latest_is_the_body_as_it_was_published(store: Any) -> None:
    await store.publish([Update(QUOTE, b'{"a":"1.10"}'), Update(QUOTE, '{"b":"é"}'.encode())])
    latest, missing = await store.latest([QUOTE, "quote.NONE"])
    assert (latest.seq, latest.body) == (2, '{"b":"é"}'.encode())
    assert missing is None


async def test_history_returns_the_asked_range_oldest_first(store: Any) -> None:
    await store.publish([Update(QUOTE, b"%d" % n) for n in range(1, 11)])
    epoch, updates = await store.history(QUOTE, from_seq=3, to_seq=5)
    assert [(update.epoch, update.seq, update.body) for update in updates] == [(epoch, n, b"%d" % n) for n in (3, 4, 5)]


async def test_history_limit_takes_the_oldest_or_the_newest(store: Any) -> None:
    await store.publish([Update(QUOTE, b"x") for _ in range(10)])
    assert [update.seq for update in (await store.history(QUOTE, limit=2)).updates] == [1, 2]
    assert [update.seq for update in (await store.history(QUOTE, limit=2, newest=True)).updates] == [9, 10]


async def test_history_of_an_unknown_topic_is_empty(store: Any) -> None:
    assert await store.history("quote.NONE") == ("", [])


async def test_history_is_bounded(store: Any) -> None:
    for _ in range(10):
        await store.publish([Update(QUOTE, b"x") for _ in range(100)])
    kept = [update.seq for update in (await store.history(QUOTE)).updates]
    assert kept[-1] == 1000
    assert 50 <= len(kept) <= 50 + 100  # Redis trims whole nodes of up to 100 entries


async def test_a_state_is_kept_with_the_batch(store: Any) -> None:
    await store.publish([Update(QUOTE, b"x")], [State("bars:AAPL", 0, b"one")])
    assert await store.load(["bars:AAPL", "bars:IBM"]) == [State("bars:AAPL", 1, b"one"), State("bars:IBM", 0, b"")]


async def test_a_state_changed_by_another_writer_stops_the_whole_batch(store: Any) -> None:
    await store.publish([], [State("bars:AAPL", 0, b"one")])
    with pytest.raises(Conflict) as caught:
        await store.publish([Update(QUOTE, b"x")], [State("bars:IBM", 0, b""), State("bars:AAPL", 0, b"two")])
    assert caught.value.keys == ["bars:AAPL"]
    assert await store.latest([QUOTE]) == [None]
    assert await store.load(["bars:AAPL"]) == [State("bars:AAPL", 1, b"one")]


async def test_a_wiped_store_begins_a_new_epoch(store: Any) -> None:
    await store.publish([Update(QUOTE, b"1"), Update(QUOTE, b"2")])
    before = (await store.latest([QUOTE]))[0]
    if isinstance(store.store, MemoryStore):
        store.store.wipe()
    else:
        layout = store.store.layout
        client = redis.Redis(unix_socket_path=store.store.client.connection_pool.connection_kwargs["path"])
        client.delete(*client.keys(f"{layout.prefix}:*"))
        client.close()
    assert await store.publish([Update(QUOTE, b"3")]) == [1]
    after = (await store.latest([QUOTE]))[0]
    assert after.epoch != before.epoch


async def test_a_store_moved_to_another_redis_process_begins_a_new_epoch(redis_url: str, prefix: str) -> None:
    store = Store(redis_url, Layout(prefix))
    store.publish([Update(QUOTE, b"1"), Update(QUOTE, b"2")])
    before = store.latest([QUOTE])[0]
    store.client.hset(store.layout.life, "run", "f" * 40)  # what a restart from disk or a promoted replica looks like
    assert store.publish([Update(QUOTE, b"3")]) == [1]
    after = store.latest([QUOTE])[0]
    assert before is not None
    assert after is not None
    assert after.epoch != before.epoch
    assert [update.body for update in store.history(QUOTE).updates] == [b"3"]
    store.close()


async def test_writers_in_parallel_leave_no_hole_and_no_duplicate(redis_url: str, prefix: str) -> None:
    store = Store(redis_url, Layout(prefix, history=5000))
    seqs: list[int] = []

    def write() -> None:
        for _ in range(50):
            seqs.extend(store.publish([Update(QUOTE, b"x")] * 10))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert sorted(seqs) == list(range(1, 2001))
    store.close()


async def test_the_bus_carries_what_the_store_has(redis_url: str, prefix: str) -> None:
    store = Store(redis_url, Layout(prefix))
    bus = store.client.pubsub(ignore_subscribe_messages=True)
    bus.subscribe(store.layout.channels + QUOTE)
    bus.get_message(timeout=1)
    store.publish([Update(QUOTE, b'{"a":1}')])
    message = bus.get_message(timeout=1)
    latest = store.latest([QUOTE])[0]
    assert latest is not None
    assert message["data"] == write_message(QUOTE, latest.epoch, 1, latest.body)
    assert read_message(message["data"]) == (latest.epoch, 1, b'{"a":1}')
    bus.close()
    store.close()


def test_a_message_that_somebody_else_wrote_is_not_mistaken() -> None:
    assert read_message(b"\x81\xa4type\xa4chat") is None


def test_redis_away_is_said_in_the_domains_words() -> None:
    store = Store("unix:///nonexistent/redis.sock", Layout("x"))
    with pytest.raises(StoreUnavailable):
        store.latest([QUOTE])
