"""The channel layer: the Channels contract, and the wire that it shares with channels_redis.pubsub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio
from asgiref.sync import async_to_sync
from channels_redis.pubsub import RedisPubSubChannelLayer

from marketdata.errors import StoreUnavailable
from marketdata.layer import BusLayer
from marketdata.layout import Layout
from marketdata.store import AsyncStore, Update

HELLO = {"type": "chat.message", "text": "hi", "n": 3, "raw": b"\x00\xff"}


async def soon(awaitable: Any) -> Any:
    async with asyncio.timeout(3):
        return await awaitable


@pytest.fixture
async def layer(redis_url: str, prefix: str) -> AsyncIterator[BusLayer]:
    found = BusLayer(redis_url, prefix=prefix, capacity=10)
    yield found
    await found.close()


@pytest.fixture
async def stock(redis_url: str, prefix: str) -> AsyncIterator[RedisPubSubChannelLayer]:
    found = RedisPubSubChannelLayer(hosts=[redis_url], prefix=prefix)
    yield found
    await found.flush()


async def test_a_channel_receives_what_it_is_sent(layer: BusLayer) -> None:
    channel = await layer.new_channel()
    await layer.send(channel, HELLO)
    assert await soon(layer.receive(channel)) == HELLO


async def test_messages_of_one_sender_arrive_in_order(layer: BusLayer) -> None:
    channel = await layer.new_channel()
    for n in range(10):
        await layer.send(channel, {"type": "n", "n": n})
    assert [(await soon(layer.receive(channel)))["n"] for _ in range(10)] == list(range(10))


async def test_every_member_of_a_group_receives_its_own_copy(layer: BusLayer) -> None:
    one, two = await layer.new_channel(), await layer.new_channel()
    await layer.group_add("md.quote.AAPL", one)
    await layer.group_add("md.quote.AAPL", two)
    await layer.group_send("md.quote.AAPL", HELLO)
    first, second = await soon(layer.receive(one)), await soon(layer.receive(two))
    assert first == second == HELLO
    assert first is not second


async def test_a_discarded_channel_receives_no_more(layer: BusLayer) -> None:
    channel = await layer.new_channel()
    await layer.group_add("g", channel)
    await layer.group_discard("g", channel)
    await layer.group_discard("g", channel)
    await layer.group_send("g", HELLO)
    await layer.send(channel, {"type": "last"})
    assert await soon(layer.receive(channel)) == {"type": "last"}


async def test_group_add_is_confirmed_by_redis_before_it_returns(layer: BusLayer, redis_url: str) -> None:
    client = redis.asyncio.Redis.from_url(redis_url)
    channel = await layer.new_channel()
    for n in range(50):
        await layer.group_add(f"g{n}", channel)
        assert await client.publish(layer.redis_channel(f"g{n}"), b"\x80") == 1
    await client.aclose()


async def test_sending_to_an_empty_group_is_no_error(layer: BusLayer) -> None:
    await layer.group_send("nobody", HELLO)


async def test_names_follow_the_rule_of_channels(layer: BusLayer) -> None:
    channel = await layer.new_channel()
    with pytest.raises(TypeError):
        await layer.group_add("BTC/USDT", channel)
    with pytest.raises(TypeError):
        await layer.send("x" * 100, HELLO)


async def test_group_add_refuses_a_foreign_channel(layer: BusLayer) -> None:
    with pytest.raises(RuntimeError):
        await layer.group_add("g", "somebody.elses")


async def test_a_full_channel_keeps_the_newest(layer: BusLayer) -> None:
    channel = await layer.new_channel()
    for n in range(15):
        await layer.send(channel, {"type": "n", "n": n})
    await asyncio.sleep(0.05)
    assert [(await soon(layer.receive(channel)))["n"] for _ in range(10)] == list(range(5, 15))


async def test_cancelling_receive_loses_nothing(layer: BusLayer) -> None:
    channel = await layer.new_channel()
    await layer.group_add("g", channel)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(layer.receive(channel), 0.05)
    await layer.group_send("g", HELLO)
    assert await soon(layer.receive(channel)) == HELLO


async def test_a_channel_whose_consumer_is_gone_is_given_up(layer: BusLayer, redis_url: str) -> None:
    layer.expiry = 0
    channel = await layer.new_channel()
    await layer.group_add("g", channel)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(layer.receive(channel), 0.01)
    await layer.new_channel()
    client = redis.asyncio.Redis.from_url(redis_url)
    assert await client.pubsub_numsub(layer.redis_channel("g")) == [(layer.redis_channel("g"), 0)]
    await client.aclose()


async def test_flush_forgets_channels_and_groups(layer: BusLayer) -> None:
    channel = await layer.new_channel()
    await layer.group_add("g", channel)
    await layer.flush()
    with pytest.raises(RuntimeError):
        await layer.group_add("g", channel)
    again = await layer.new_channel()
    await layer.send(again, HELLO)
    assert await soon(layer.receive(again)) == HELLO


async def test_a_stock_channels_process_sends_to_our_group(layer: BusLayer, stock: RedisPubSubChannelLayer) -> None:
    channel = await layer.new_channel()
    await layer.group_add("g", channel)
    await stock.group_send("g", HELLO)
    assert await soon(layer.receive(channel)) == HELLO


async def joined(layer: BusLayer, redis_url: str, group: str) -> None:
    """Wait until Redis knows a member: the stock layer's group_add does not."""
    client = redis.asyncio.Redis.from_url(redis_url)
    async with asyncio.timeout(3):
        while (await client.pubsub_numsub(layer.redis_channel(group)))[0][1] == 0:
            await asyncio.sleep(0.01)
    await client.aclose()


async def test_a_stock_channels_process_receives_from_our_group(
    layer: BusLayer, stock: RedisPubSubChannelLayer, redis_url: str
) -> None:
    channel = await stock.new_channel()
    await stock.group_add("g", channel)
    await joined(layer, redis_url, "g")
    await layer.group_send("g", HELLO)
    assert await soon(stock.receive(channel)) == HELLO


async def test_a_stock_channels_process_receives_our_ticks(
    layer: BusLayer, stock: RedisPubSubChannelLayer, redis_url: str, prefix: str
) -> None:
    store = AsyncStore(redis_url, Layout(prefix))
    channel = await stock.new_channel()
    await stock.group_add("md.quote.AAPL", channel)
    await joined(layer, redis_url, "md.quote.AAPL")
    await store.publish([Update("quote.AAPL", b'{"bid":"1"}')])
    message = await soon(stock.receive(channel))
    assert message["type"] == "market.update"
    assert (message["topic"], message["seq"], message["data"]) == ("quote.AAPL", 1, '{"bid":"1"}')
    await store.close()


async def test_a_lost_connection_comes_back_with_every_group(layer: BusLayer, redis_url: str) -> None:
    channel = await layer.new_channel()
    await layer.group_add("g", channel)
    bus = await layer.bus()
    seen: list[bool] = []
    bus.watch(seen.append)
    client = redis.asyncio.Redis.from_url(redis_url)
    await client.client_kill_filter(_type="pubsub")
    async with asyncio.timeout(5):
        while seen != [False, True]:
            await asyncio.sleep(0.01)
    await layer.group_send("g", HELLO)
    assert await soon(layer.receive(channel)) == HELLO
    await client.aclose()


def test_synchronous_code_sends_many_in_one_call(redis_url: str, prefix: str) -> None:
    layer = BusLayer(redis_url, prefix=prefix)

    async def receive() -> list[Any]:
        channel = await layer.new_channel()
        await layer.group_add("g", channel)
        await asyncio.to_thread(layer.publish_many, [("g", {"type": "n", "n": n}) for n in range(3)])
        return [await soon(layer.receive(channel)) for _ in range(3)]

    assert [message["n"] for message in async_to_sync(receive)()] == [0, 1, 2]
    async_to_sync(layer.group_send)("g", HELLO)  # in an event loop of its own, which closes what it opened
    assert layer._sync is not None
    layer._sync.close()


async def test_without_redis_joining_and_sending_say_so() -> None:
    layer = BusLayer("unix:///nonexistent/redis.sock")
    with pytest.raises(StoreUnavailable):
        await layer.group_send("g", HELLO)
    await layer.close()
