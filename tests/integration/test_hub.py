"""The hub on real Redis: who gets what, in which order, at which cost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis.asyncio

from marketdata.errors import StoreUnavailable
from marketdata.message import write_message
from marketdata.store import Update
from marketdata.topics import parse
from realtime.codes import Eviction
from realtime.connection import Connection
from realtime.frames import encoding
from tests.integration.conftest import Desk, ListSink, messages

TRADE, QUOTE, KLINE = "trade.AAPL", "quote.AAPL", "kline.1m.AAPL"


def seqs(connection: Connection, topic: str = TRADE) -> list[int]:
    return [message["seq"] for message in messages(connection) if message.get("topic") == topic and "seq" in message]


def sink(connection: Connection) -> ListSink:
    assert isinstance(connection.sink, ListSink)
    return connection.sink


async def numsub(desk: Desk, redis_url: str, *topics: str) -> list[int]:
    client = redis.asyncio.Redis.from_url(redis_url)
    found = await client.pubsub_numsub(*(desk.layer.redis_channel(parse(topic).group) for topic in topics))
    await client.aclose()
    return [count for _, count in found]


async def test_the_first_follower_gets_the_latest_value_then_updates(desk: Desk) -> None:
    await desk.publish(TRADE, '{"n":1}', '{"n":2}')
    client = desk.connect()
    await desk.subscribe(client, TRADE)
    await desk.publish(TRADE, '{"n":3}')
    await desk.until(lambda: len(messages(client)) == 2)
    snapshot, update = messages(client)
    assert (snapshot["type"], snapshot["seq"], snapshot["data"]) == ("snapshot", 2, {"n": 2})
    assert update == {"type": "update", "topic": TRADE, "seq": 3, "data": {"n": 3}}


async def test_a_topic_without_data_begins_with_a_snapshot(desk: Desk) -> None:
    client = desk.connect()
    await desk.subscribe(client, QUOTE)
    assert messages(client) == []
    await desk.publish(QUOTE, '{"n":1}')
    await desk.until(lambda: messages(client))
    assert (messages(client)[0]["type"], messages(client)[0]["seq"]) == ("snapshot", 1)


async def test_followers_of_one_topic_share_a_group_an_encoding_and_a_write_each(desk: Desk, redis_url: str) -> None:
    clients = [desk.connect() for _ in range(50)]
    for client in clients:
        await desk.subscribe(client, TRADE)
    await desk.publish(TRADE, "{}")
    await desk.until(lambda: all(seqs(client) for client in clients))
    assert await numsub(desk, redis_url, TRADE) == [1]
    assert desk.hub.counts["encodes"] == 1
    assert desk.hub.counts["writes"] == 50
    assert len(desk.hub.cohorts) == 1


async def test_what_is_due_for_a_connection_leaves_in_one_write(desk: Desk) -> None:
    client = desk.connect()
    topics = [f"trade.S{n}" for n in range(20)]
    await desk.subscribe(client, *topics)
    desk.hub._not_before = desk.hub.time() + 0.05  # as after a flush that took long: what comes meanwhile is gathered
    await desk.store.publish([Update(topic, b"{}") for topic in topics for _ in range(5)])
    await desk.until(lambda: len(messages(client)) == 100)
    assert sink(client).writes == 1


async def test_bytes_are_made_once_per_encoding(desk: Desk) -> None:
    ways = [encoding("json", framed=False), encoding("msgpack", framed=True), encoding("json", framed=True)]
    for way in ways * 3:
        await desk.subscribe(desk.connect(way), TRADE) if way.framed is False else None
    for _ in range(2):
        await desk.publish(TRADE, "{}")
    await desk.until(lambda: desk.hub.counts["delivered"] == 6)
    assert desk.hub.counts["encodes"] == 2


async def test_of_a_latest_topic_the_newest_arrives_and_older_ones_are_conflated(desk: Desk) -> None:
    client = desk.connect()
    await desk.subscribe(client, QUOTE)
    desk.hub._not_before = desk.hub.time() + 0.05
    await desk.publish(QUOTE, *(f'{{"n":{n}}}' for n in range(1, 11)))
    await desk.until(lambda: messages(client))
    assert [message["data"]["n"] for message in messages(client)] == [10]
    assert desk.hub.counts["conflated"] == 9


async def test_a_closed_kline_is_never_conflated_away(desk: Desk) -> None:
    client = desk.connect()
    await desk.publish(KLINE, '{"n":0,"closed":false}')
    await desk.subscribe(client, KLINE)
    desk.hub._not_before = desk.hub.time() + 0.05
    bodies = [(1, "false"), (2, "true"), (3, "false"), (4, "true"), (5, "false"), (6, "false")]
    await desk.publish(KLINE, *(f'{{"n":{n},"closed":{closed}}}' for n, closed in bodies))
    await desk.until(lambda: len(messages(client)) == 4)
    assert [message["data"]["n"] for message in messages(client)] == [0, 2, 4, 6]


async def test_max_rate_spaces_updates_and_ends_with_the_last(desk: Desk) -> None:
    client = desk.connect()
    await desk.publish(QUOTE, '{"n":0}')
    await desk.subscribe(client, QUOTE, rate=20.0)
    began = desk.hub.time()
    for n in range(1, 41):
        await desk.publish(QUOTE, f'{{"n":{n}}}')
        await asyncio.sleep(0.005)
    await desk.until(lambda: messages(client)[-1]["data"]["n"] == 40)
    assert len(messages(client)) - 1 <= 1 + (desk.hub.time() - began) * 20
    assert seqs(client, QUOTE) == sorted(set(seqs(client, QUOTE)))


async def test_a_newcomer_at_a_rate_sees_no_update_that_its_snapshot_had(desk: Desk) -> None:
    first = desk.connect()
    await desk.publish(QUOTE, '{"n":0}')
    await desk.subscribe(first, QUOTE, rate=10.0)
    await desk.publish(QUOTE, '{"n":1}')
    await desk.until(lambda: len(messages(first)) == 2)
    await desk.publish(QUOTE, '{"n":2}')  # waits for the pace
    await desk.until(lambda: desk.hub.entries[QUOTE].seq == 3 and not desk.hub.entries[QUOTE].pending)
    second = desk.connect()
    await desk.subscribe(second, QUOTE, rate=10.0)
    await desk.until(lambda: seqs(first, QUOTE)[-1] == 3)
    assert seqs(second, QUOTE) == [2, 3]


async def test_last_unsubscribe_leaves_the_group_after_the_linger(desk: Desk, redis_url: str) -> None:
    one, two = desk.connect(), desk.connect()
    await desk.subscribe(one, TRADE)
    await desk.subscribe(two, TRADE)
    desk.hub.unsubscribe(one, [TRADE])
    await desk.hub.forget_idle()
    assert await numsub(desk, redis_url, TRADE) == [1]
    desk.hub.unsubscribe(two, [TRADE])
    await desk.hub.forget_idle()
    assert await numsub(desk, redis_url, TRADE) == [0]
    assert desk.hub.entries == {}


async def test_a_connection_that_goes_leaves_nothing_behind(desk: Desk) -> None:
    client = desk.connect()
    await desk.subscribe(client, TRADE, QUOTE)
    desk.hub.detach(client)
    desk.hub.detach(client)
    await desk.hub.forget_idle()
    assert (len(desk.hub.cohorts), desk.hub.entries, desk.hub.connections) == (0, {}, {})


async def test_subscribing_again_changes_nothing_and_delivery_goes_on(desk: Desk) -> None:
    client = desk.connect()
    for _ in range(3):
        await desk.subscribe(client, TRADE)
    desk.hub.subscribe(client, {})
    await desk.subscribe(client, QUOTE)
    await desk.publish(TRADE, "{}")
    await desk.until(lambda: seqs(client) == [1])


async def test_nothing_of_a_topic_arrives_after_unsubscribing(desk: Desk) -> None:
    client = desk.connect()
    await desk.subscribe(client, TRADE, QUOTE)
    desk.hub._not_before = desk.hub.time() + 0.05
    await desk.publish(TRADE, "{}")
    await desk.until(lambda: desk.hub.entries[TRADE].pending)
    assert desk.hub.unsubscribe(client, [TRADE, "quote.NONE"]) == [TRADE]
    await desk.publish(QUOTE, "{}")
    await desk.until(lambda: messages(client))
    assert [message["topic"] for message in messages(client)] == [QUOTE]


async def test_a_hole_is_repaired_from_the_store_unseen(desk: Desk) -> None:
    client = desk.connect()
    await desk.publish(TRADE, '{"n":1}')
    await desk.subscribe(client, TRADE)
    await desk.hub.bus.unfollow([desk.hub.entries[TRADE].channel])  # the bus loses the next ones
    await desk.publish(TRADE, '{"n":2}', '{"n":3}')
    entry = desk.hub.entries[TRADE]
    await desk.hub.bus.follow({entry.channel: desk.hub.receiver(entry)})
    await desk.publish(TRADE, '{"n":4}')
    await desk.until(lambda: len(messages(client)) == 4)
    assert [message["data"]["n"] for message in messages(client)] == [1, 2, 3, 4]
    assert desk.hub.counts["healed"] == 2


async def test_a_hole_that_cannot_be_repaired_is_announced(desk: Desk) -> None:
    client = desk.connect()
    await desk.publish(TRADE, '{"n":1}')
    await desk.subscribe(client, TRADE)
    entry = desk.hub.entries[TRADE]
    desk.hub.receiver(entry)(write_message(TRADE, entry.epoch, 9, b'{"n":9}'))  # 2 to 8 exist nowhere
    await desk.until(lambda: len(messages(client)) == 3)
    _, gap, update = messages(client)
    assert gap == {"type": "gap", "topic": TRADE, "epoch": entry.epoch, "from": 2, "to": 8, "reason": "broker"}
    assert update["seq"] == 9


async def test_a_duplicate_is_not_delivered(desk: Desk) -> None:
    client = desk.connect()
    await desk.publish(TRADE, '{"n":1}', '{"n":2}')
    await desk.subscribe(client, TRADE)
    entry = desk.hub.entries[TRADE]
    desk.hub.receiver(entry)(write_message(TRADE, entry.epoch, 2, b'{"n":2}'))
    await desk.publish(TRADE, '{"n":3}')
    await desk.until(lambda: len(messages(client)) == 2)
    assert seqs(client) == [2, 3]


async def test_a_wiped_store_reaches_clients_as_a_snapshot(desk: Desk, redis_url: str) -> None:
    client = desk.connect()
    await desk.publish(TRADE, '{"n":1}', '{"n":2}')
    await desk.subscribe(client, TRADE)
    wiper = redis.asyncio.Redis.from_url(redis_url)
    await wiper.delete(*(await wiper.keys(f"{desk.layer.prefix}:*")))
    await wiper.aclose()
    await desk.publish(TRADE, '{"n":3}', '{"n":4}')
    await desk.until(lambda: len(messages(client)) == 3)
    first, second, third = messages(client)
    assert (second["type"], second["seq"], second["data"]) == ("snapshot", 1, {"n": 3})
    assert second["epoch"] != first["epoch"]
    assert (third["type"], third["seq"]) == ("update", 2)


async def test_what_was_missed_while_the_bus_was_away_arrives(desk: Desk, redis_url: str) -> None:
    client = desk.connect()
    await desk.publish(TRADE, '{"n":0}')
    await desk.subscribe(client, TRADE)
    killer = redis.asyncio.Redis.from_url(redis_url)
    await killer.client_kill_filter(_type="pubsub")
    await desk.publish(TRADE, *(f'{{"n":{n}}}' for n in range(1, 21)))
    await killer.aclose()
    await desk.until(lambda: len(messages(client)) == 21)
    assert [message["data"]["n"] for message in messages(client)] == list(range(21))


async def test_a_full_socket_gets_trades_in_order_and_the_newest_quote_when_it_drains(desk: Desk) -> None:
    client, other = desk.connect(), desk.connect()
    for one in (client, other):
        await desk.subscribe(one, TRADE, QUOTE)
    sink(client).full = True
    for n in range(1, 11):
        await desk.store.publish([Update(TRADE, b'{"n":%d}' % n), Update(QUOTE, b'{"n":%d}' % n)])
        await desk.until(lambda n=n: seqs(other)[-1:] == [n] and seqs(other, QUOTE)[-1:] == [n])
    sink(client).drain()
    assert seqs(client) == list(range(1, 11))
    assert seqs(client, QUOTE)[-1] == 10
    assert len(seqs(client, QUOTE)) <= 3
    assert seqs(other, QUOTE) == list(range(1, 11))
    await desk.publish(TRADE, "{}")
    await desk.until(lambda: seqs(client)[-1] == 11)  # back among the fast


async def test_a_full_outbox_drops_the_oldest_trades_and_says_which(desk: Desk) -> None:
    desk.hub.slow.most_updates = 5
    client, other = desk.connect(), desk.connect()
    await desk.publish(TRADE, "{}")
    for one in (client, other):
        await desk.subscribe(one, TRADE)
    sink(client).full = True
    for n in range(2, 14):
        await desk.publish(TRADE, "{}")
        await desk.until(lambda n=n: seqs(other)[-1] == n)
    sink(client).drain()
    gap = next(message for message in messages(client) if message["type"] == "gap")
    received = seqs(client)
    assert gap["reason"] == "overflow"
    assert received + list(range(gap["from"], gap["to"] + 1)) != received
    assert sorted(received + list(range(gap["from"], gap["to"] + 1))) == list(range(1, 14))


async def test_evicting_a_topic_tells_each_follower(desk: Desk) -> None:
    client = desk.connect()
    await desk.subscribe(client, TRADE)
    assert desk.hub.evict(TRADE, Eviction.SYMBOL_DISABLED) == 1
    assert messages(client)[-1] == {"type": "evicted", "topic": TRADE, "code": 2002, "name": "symbol_disabled"}


async def test_a_store_that_goes_away_half_way_leaves_what_is_ready(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    client, recall, asked = desk.connect(), desk.store.recall, []

    async def answer_once(*which: Any) -> Any:
        asked.append(which)
        if len(asked) == 1:
            return await recall(*which)
        async with asyncio.timeout(5):
            while TRADE not in desk.hub.entries or not desk.hub.entries[TRADE].live:
                await asyncio.sleep(0)
        await desk.subscribe(client, TRADE)  # somebody is quick
        raise StoreUnavailable("away")

    monkeypatch.setattr("realtime.joining.READ_AT_ONCE", 1)
    monkeypatch.setattr(desk.store, "recall", answer_once)
    with pytest.raises(StoreUnavailable):
        await desk.hub.ensure([parse(TRADE), parse(QUOTE)])
    assert list(desk.hub.entries) == [TRADE]
    await desk.publish(TRADE, '{"n":1}')
    await desk.until(lambda: seqs(client) == [1])


async def test_a_thousand_subscribes_under_load_join_without_hole_or_duplicate(desk: Desk) -> None:
    stop = asyncio.Event()

    async def load() -> None:
        n = 0
        while not stop.is_set():
            await desk.publish(TRADE, *("{}" for _ in range(5)))
            n += 5

    loading = asyncio.create_task(load())
    clients: list[Connection] = []
    for at in range(50):
        some = [desk.connect() for _ in range(20)]
        await asyncio.gather(*(desk.subscribe(client, TRADE) for client in some))
        clients += some
        if at % 10 == 9:  # the topic is left now and then, so that the first join of a group is among them
            for client in clients:
                desk.hub.unsubscribe(client, [TRADE])
            await desk.hub.forget_idle()
        await asyncio.sleep(0.002)
    await asyncio.sleep(0.05)
    stop.set()
    await loading
    for client in clients:
        got: list[Any] = [message for message in messages(client) if message.get("topic") == TRADE]
        assert got[0]["type"] == "snapshot"
        assert [message["seq"] for message in got] == list(range(got[0]["seq"], got[0]["seq"] + len(got)))
