"""What is given twice is published once: by the ids of updates, and by the mark of a batch."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from marketdata.batch import Mark, State, Update
from marketdata.errors import Conflict, Repeated
from marketdata.layout import Layout
from marketdata.store import AsyncStore, Store

from .conftest import TRADE_IDS, Awaited

TRADES, OTHERS, QUOTE = "trade.AAPL", "trade.IBM", "quote.AAPL"


def trade(number: int, topic: str = TRADES) -> Update:
    return Update(topic, b"%d" % number, str(number))


async def bodies(store: Any, topic: str = TRADES) -> list[bytes]:
    return [update.body for update in (await store.history(topic)).updates]


# Ids


async def test_an_id_is_published_once(store: Any) -> None:
    await store.publish([trade(1), trade(2)])
    with pytest.raises(Repeated) as caught:
        await store.publish([Update(QUOTE, b"q"), trade(3), trade(2), trade(1)])
    assert caught.value.places == [2, 3]
    assert await bodies(store) == [b"1", b"2"]


async def test_a_batch_with_a_repeated_id_leaves_no_trace(store: Any) -> None:
    await store.publish([trade(1)])
    with pytest.raises(Repeated):
        await store.publish([Update(QUOTE, b"q"), trade(1), trade(2)], [State("bars:AAPL", 0, b"one")], Mark("w", 1))
    assert await store.latest([QUOTE]) == [None]
    assert await store.load(["bars:AAPL"]) == [State("bars:AAPL", 0, b"")]
    assert await store.publish([trade(2)], [State("bars:AAPL", 0, b"one")], Mark("w", 1)) == [2]


async def test_an_id_twice_in_one_batch_is_repeated_too(store: Any) -> None:
    with pytest.raises(Repeated) as caught:
        await store.publish([trade(1), trade(2), trade(1)])
    assert caught.value.places == [2]
    assert await bodies(store) == []


async def test_the_store_tells_which_ids_its_topics_had(store: Any) -> None:
    await store.publish([trade(1), trade(2), trade(3, OTHERS)])
    asked = [(TRADES, "2"), (OTHERS, "2"), (OTHERS, "3"), ("trade.NONE", "1"), (TRADES, "1")]
    assert await store.known(asked) == [True, False, True, False, True]


async def test_topics_have_ids_of_their_own(store: Any) -> None:
    assert await store.publish([trade(1), trade(1, OTHERS)]) == [1, 1]
    with pytest.raises(Repeated) as caught:
        await store.publish([trade(2), trade(1, OTHERS), trade(3, OTHERS), trade(1)])
    assert sorted(caught.value.places) == [1, 3]


async def test_updates_without_an_id_may_be_alike(store: Any) -> None:
    assert await store.publish([Update(QUOTE, b"1"), Update(QUOTE, b"1")]) == [1, 2]


async def test_the_newest_ids_are_remembered_and_the_oldest_forgotten(store: Any) -> None:
    last = 5 * TRADE_IDS
    for number in range(1, last + 1):
        await store.publish([trade(number)])
    remembered = []
    for number in range(last, 0, -1):
        try:
            await store.publish([trade(number)])
        except Repeated:
            remembered.append(number)
        else:
            break
    assert TRADE_IDS <= len(remembered) <= TRADE_IDS * 5 // 4


async def test_ids_are_told_apart_wherever_their_digests_lie(store: Any) -> None:
    """Among thousands of ids none is mistaken for another, nor for the end of one and the beginning of the next."""
    for start in range(0, 2000, 50):
        await store.publish([trade(number) for number in range(start, start + 50)])
    assert (await store.latest([TRADES]))[0].seq == 2000


@pytest.mark.parametrize("kind", [Store, AsyncStore])
async def test_what_redis_keeps_of_ids_is_bounded(kind: Any, redis_url: str, prefix: str) -> None:
    store, client = Awaited(kind(redis_url, Layout(prefix, trade_ids=100))), redis.Redis.from_url(redis_url)
    for start in range(0, 1000, 10):
        await store.publish([trade(number) for number in range(start, start + 10)])
        assert client.strlen(f"{prefix}:w:{TRADES}") <= 100 * 10
    await store.close()
    client.close()


async def test_ids_hold_for_every_writer(redis_url: str, prefix: str) -> None:
    one, other = Store(redis_url, Layout(prefix)), Store(redis_url, Layout(prefix))
    one.publish([trade(1)])
    with pytest.raises(Repeated):
        other.publish([trade(1)])
    one.close()
    other.close()


# Marks


async def test_a_marked_batch_is_done_once_however_often_it_is_given(store: Any) -> None:
    assert await store.publish([Update(QUOTE, b"1")], mark=Mark("w", 1)) == [1]
    for _ in range(3):
        assert await store.publish([Update(QUOTE, b"1")], mark=Mark("w", 1)) == []
    assert await bodies(store, QUOTE) == [b"1"]


async def test_a_mark_is_older_than_a_later_one(store: Any) -> None:
    await store.publish([Update(QUOTE, b"1")], mark=Mark("w", 1))
    await store.publish([Update(QUOTE, b"2")], mark=Mark("w", 10))
    assert await store.publish([Update(QUOTE, b"1")], mark=Mark("w", 9)) == []
    assert await store.publish([Update(QUOTE, b"3")], mark=Mark("w", 11)) == [3]


async def test_writers_have_marks_of_their_own(store: Any) -> None:
    await store.publish([Update(QUOTE, b"1")], mark=Mark("one", 7))
    assert await store.publish([Update(QUOTE, b"2")], mark=Mark("two", 7)) == [2]


async def test_a_refused_batch_does_not_use_its_mark_up(store: Any) -> None:
    await store.publish([], [State("bars:AAPL", 0, b"one")])
    with pytest.raises(Conflict):
        await store.publish([Update(QUOTE, b"1")], [State("bars:AAPL", 0, b"two")], Mark("w", 1))
    assert await store.publish([Update(QUOTE, b"1")], [State("bars:AAPL", 1, b"two")], Mark("w", 1)) == [1]


async def test_a_batch_done_before_changes_no_state_and_knows_no_conflict(store: Any) -> None:
    batch = [trade(1)], [State("bars:AAPL", 0, b"one")], Mark("w", 1)
    await store.publish(*batch)
    assert await store.publish(*batch) == []
    assert await store.load(["bars:AAPL"]) == [State("bars:AAPL", 1, b"one")]


async def test_a_mark_goes_away_some_time(redis_url: str, prefix: str) -> None:
    store, client = Store(redis_url, Layout(prefix)), redis.Redis.from_url(redis_url)
    store.publish([Update(QUOTE, b"1")], mark=Mark("w", 1))
    assert 0 < client.ttl(f"{prefix}:m:w") <= 86_400
    store.close()
    client.close()
