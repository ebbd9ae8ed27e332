"""What every store must do: Redis, from sync and async code, and the in-memory twin."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
import redis

from marketdata.errors import Conflict, StoreUnavailable
from marketdata.layout import Layout
from marketdata.memory_store import MemoryStore
from marketdata.message import read_message, write_message
from marketdata.store import AsyncStore, State, Store, Update
from tests.conftest import Clock

from .conftest import Awaited

QUOTE = "quote.AAPL"


async def test_seq_counts_from_one_per_topic(store: Any) -> None:
    batch = [Update(QUOTE, b"1"), Update("trade.AAPL", b"2"), Update(QUOTE, b"3")]
    assert await store.publish(batch) == [1, 1, 2]
    assert await store.publish([Update(QUOTE, b"4")]) == [3]


async def test_latest_is_the_body_as_it_was_published(store: Any) -> None:
    await store.publish([Update(QUOTE, b'{"a":"1.10"}'), Update(QUOTE, '{"b":"é"}'.encode())])
    latest, missing = await store.latest([QUOTE, "quote.NONE"])
    assert (latest.seq, latest.body) == (2, '{"b":"é"}'.encode())
    assert missing is None


async def test_stamps_say_how_far_topics_are(store: Any) -> None:
    await store.publish([Update(QUOTE, b"1"), Update(QUOTE, b"2"), Update("trade.AAPL", b"3")])
    epoch = (await store.history(QUOTE)).epoch
    assert await store.stamps(["trade.AAPL", "quote.NONE", QUOTE]) == [(epoch, 1), ("", 0), (epoch, 2)]


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


async def test_recall_gives_the_newest_and_what_is_kept_after_each_position(store: Any) -> None:
    await store.publish([Update(QUOTE, b"%d" % n) for n in range(1, 6)] + [Update("trade.AAPL", b"t")])
    found = await store.recall([(QUOTE, 3), ("trade.AAPL", 1), ("trade.AAPL", None), ("quote.NONE", 0)])
    epoch = (await store.history(QUOTE)).epoch
    assert [(each.latest and each.latest[:2], [update.seq for update in each.updates]) for each in found] == [
        ((epoch, 5), [4, 5]), ((epoch, 1), []), ((epoch, 1), []), (None, [])
    ]  # fmt: skip
    assert [update.body for update in found[0].updates] == [b"4", b"5"]


async def test_recall_may_end_before_the_newest(store: Any) -> None:
    await store.publish([Update(QUOTE, b"%d" % n) for n in range(1, 10)] + [Update("trade.AAPL", b"t")])
    found = await store.recall([(QUOTE, 2), ("trade.AAPL", 0)], 3, {QUOTE: 7})
    assert [(each.latest.seq, [update.seq for update in each.updates]) for each in found] == [(9, [5, 6, 7]), (1, [1])]


async def test_recall_of_nothing_is_nothing(store: Any) -> None:
    assert await store.recall([]) == []


async def test_of_too_many_updates_recall_lacks_the_oldest_never_the_newest(store: Any) -> None:
    await store.publish([Update(QUOTE, b"x") for _ in range(99)])
    for most, oldest in [(1000, 50), (10, 90)]:
        kept = [update.seq for update in (await store.recall([(QUOTE, 0)], most))[0].updates]
        assert kept == list(range(oldest, 100))


async def test_as_of_a_moment_gives_the_newest_update_that_was_there(store: Any, clock: Clock) -> None:
    began_us = clock.us
    for n in range(1, 31):
        await store.publish([Update(QUOTE, b"%d" % n), *([Update("trade.AAPL", b"t")] if n == 20 else [])])
        clock.pass_s(1)
    for seconds, n in [(0, 1), (0.999, 1), (1, 2), (13.5, 14), (28, 29), (29, 30), (500, 30)]:
        trade = (1, b"t") if seconds >= 19 else None
        quote, other, missing = await store.as_of([QUOTE, "trade.AAPL", "quote.NONE"], began_us + int(seconds * 1e6))
        assert (quote.seq, quote.body, quote.published_us, missing) == (n, b"%d" % n, began_us + (n - 1) * 1_000_000, None)
        assert (other and (other.seq, other.body)) == trade


async def test_as_of_a_moment_before_the_history_there_is_nothing(store: Any, clock: Clock) -> None:
    for _ in range(30):
        await store.publish([Update(QUOTE, b"x") for _ in range(10)])
        clock.pass_s(1)
    oldest = (await store.history(QUOTE)).updates[0]
    assert await store.as_of([QUOTE], oldest.published_us - 1) == [None]
    assert (await store.as_of([QUOTE], oldest.published_us))[0].published_us == oldest.published_us


async def test_as_of_and_latest_agree_on_the_present(store: Any) -> None:
    await store.publish([Update(QUOTE, b"1"), Update("trade.AAPL", '{"b":"é"}'.encode())])
    names = ["trade.AAPL", "quote.NONE", QUOTE]
    assert await store.as_of(names, 1 << 60) == await store.latest(names)
    assert await store.as_of([], 1 << 60) == []


@pytest.mark.parametrize("kind", [Store, AsyncStore])
@pytest.mark.parametrize("read", [("history", QUOTE), ("recall", [(QUOTE, 0)])])
async def test_epoch_and_updates_are_read_in_one_transaction(kind: Any, read: Any, redis_url: str, prefix: str) -> None:
    """A writer may begin a new epoch at any moment: its updates must not be taken for those of the old one."""
    store, watcher = Awaited(kind(redis_url, Layout(prefix))), redis.Redis.from_url(redis_url)
    await store.latest([QUOTE])  # the connection is made
    with watcher.monitor() as seen:
        await getattr(store, read[0])(read[1])
        commands = [seen.next_command()["command"].split()[0] for _ in range(4)]
    assert (commands[0], commands[-1]) == ("MULTI", "EXEC")
    await store.close()
    watcher.close()


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
