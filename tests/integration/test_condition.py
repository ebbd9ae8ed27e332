"""The bus goes away and comes back: what clients are told, and when."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis.asyncio

from realtime import condition
from tests.integration.conftest import Desk, messages

TRADE = "trade.AAPL"
NOBODY: Any = None  # in the place of the store: whoever asks it fails


def kinds(client: Any) -> list[str]:
    return [message.get("kind", message["type"]) for message in messages(client)]


async def kill_bus(redis_url: str) -> None:
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        await client.client_kill_filter(_type="pubsub")


@pytest.fixture
async def away(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Called: the bus is gone for longer than a blip. It is back when a test says so."""
    monkeypatch.setattr(condition, "BLIP_S", 0.01)

    async def go() -> None:
        desk.hub.bus.connected.clear()
        desk.hub.condition.changed(False)
        await desk.until(lambda: desk.hub.condition.degraded)

    return go


def back(desk: Desk) -> None:
    desk.hub.bus.connected.set()
    desk.hub.condition.changed(True)


async def test_a_blip_is_mended_in_silence(desk: Desk, redis_url: str) -> None:
    client = desk.connect()
    await desk.subscribe(client, TRADE)
    for number in range(3):
        await kill_bus(redis_url)
        await desk.until(lambda number=number: desk.hub.counts["resyncs"] > number)
    await desk.publish(TRADE, "{}")
    await desk.until(lambda: "snapshot" in kinds(client))
    assert kinds(client) == ["snapshot"]
    assert not desk.hub.condition.degraded


async def test_an_absence_is_announced_to_all_and_its_end_after_what_was_missed(desk: Desk, away: Any) -> None:
    client, idle = desk.connect(), desk.connect()
    await desk.publish(TRADE, '{"n":0}')
    await desk.subscribe(client, TRADE)
    await away()
    entry = desk.hub.entries[TRADE]
    await desk.hub.bus.unfollow([entry.channel])
    await desk.publish(TRADE, '{"n":1}', '{"n":2}', '{"n":3}')
    back(desk)
    await desk.until(lambda: "restored" in kinds(client))
    assert kinds(client) == ["snapshot", "degraded", "update", "update", "update", "restored"]
    assert kinds(idle) == ["degraded", "restored"]


async def test_whoever_comes_meanwhile_is_told(desk: Desk, away: Any) -> None:
    told = desk.hub.condition.announcement
    assert told.standing == []
    await away()
    assert b'"degraded"' in told.standing[0]
    back(desk)
    await desk.until(lambda: not desk.hub.condition.degraded)
    assert told.standing == []


async def test_what_is_missed_while_mending_is_mended_before_the_end_is_announced(
    desk: Desk, away: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mending, go_on = [], asyncio.Event()

    async def resync(entries: Any) -> None:
        mending.append(list(entries))
        await go_on.wait()

    monkeypatch.setattr(desk.hub.repairs, "resync", resync)
    await away()
    back(desk)
    await desk.until(lambda: len(mending) == 1)
    desk.hub.condition.changed(False)
    back(desk)
    await asyncio.sleep(0.02)
    assert len(mending) == 1  # one at a time
    assert desk.hub.condition.degraded
    go_on.set()
    await desk.until(lambda: not desk.hub.condition.degraded)
    assert len(mending) == 2


async def test_a_store_that_went_back_to_its_file_takes_no_client_back(desk: Desk) -> None:
    client = desk.connect()
    await desk.publish(TRADE, '{"n":1}')
    await desk.subscribe(client, TRADE)
    entry = desk.hub.entries[TRADE]
    desk.hub.deliver(entry, "second", 1, b'{"n":2}')  # of a life that no file has
    await desk.hub.repairs.resync([entry])
    await desk.until(lambda: len(messages(client)) == 2)
    desk.hub.flush()
    assert [message["data"]["n"] for message in messages(client)] == [1, 2]


async def test_topics_can_be_joined_as_soon_as_the_bus_is_back(desk: Desk, away: Any) -> None:
    desk.hub.joins.state = "open"
    await away()
    back(desk)
    await desk.until(lambda: not desk.hub.condition.degraded)
    assert desk.hub.joins.state == "closed"


async def test_a_followed_topic_is_served_from_memory_meanwhile(desk: Desk, away: Any) -> None:
    first, second = desk.connect(), desk.connect()
    await desk.publish(TRADE, '{"n":7}')
    await desk.subscribe(first, TRADE)
    await away()
    store, desk.hub.store = desk.hub.store, NOBODY
    await desk.subscribe(second, TRADE)
    desk.hub.store = store
    assert messages(second)[-1]["data"] == {"n": 7}
