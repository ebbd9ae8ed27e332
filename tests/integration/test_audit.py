"""Updates that the bus lost and that no later one shows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from realtime import audit
from realtime.audit import Audit
from realtime.connection import Connection
from tests.integration.conftest import Desk, messages

TRADE, QUOTE = "trade.AAPL", "quote.AAPL"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every topic is quiet at once."""
    monkeypatch.setattr(audit, "QUIET_US", -1_000_000)


@asynccontextmanager
async def deaf(desk: Desk, *names: str) -> AsyncIterator[None]:
    """The bus loses what is published to these topics meanwhile."""
    entries = [desk.hub.entries[name] for name in names]
    await desk.hub.bus.unfollow([entry.channel for entry in entries])
    yield
    await desk.hub.bus.follow({entry.channel: desk.hub.receiver(entry) for entry in entries})


async def following(desk: Desk, *names: str) -> Connection:
    client = desk.connect()
    for name in names:
        await desk.publish(name, '{"n":1}')
    await desk.subscribe(client, *names)
    return client


@pytest.mark.usefixtures("asked")
async def test_the_last_updates_before_a_silence_are_fetched_though_the_bus_lost_them(desk: Desk) -> None:
    client = await following(desk, TRADE, QUOTE)
    async with deaf(desk, TRADE, QUOTE):
        await desk.publish(TRADE, '{"n":2}', '{"n":3}', '{"n":4}')
        await desk.publish(QUOTE, '{"n":2}', '{"n":3}')
    looking = Audit(desk.hub)
    for _ in range(3):
        await looking.look()
    await desk.until(lambda: len(messages(client)) == 6)
    got = [(message["topic"], message["seq"]) for message in messages(client)[2:]]
    assert [seq for topic, seq in got if topic == TRADE] == [2, 3, 4]
    assert [seq for topic, seq in got if topic == QUOTE] == [3]
    assert desk.hub.counts["healed"] == 4


@pytest.mark.usefixtures("asked")
async def test_the_first_update_of_a_new_epoch_is_fetched_too(desk: Desk) -> None:
    client = await following(desk, TRADE)
    async with deaf(desk, TRADE):
        await desk.store.client.delete(desk.hub.layout.life)
        await desk.publish(TRADE, '{"n":2}')
    looking = Audit(desk.hub)
    for _ in range(2):
        await looking.look()
    await desk.until(lambda: len(messages(client)) == 2)
    assert [(message["type"], message["seq"]) for message in messages(client)] == [("snapshot", 1), ("snapshot", 1)]
    assert messages(client)[0]["epoch"] != messages(client)[1]["epoch"]


@pytest.mark.usefixtures("asked")
async def test_a_store_that_went_back_to_an_earlier_epoch_is_no_news(desk: Desk) -> None:
    client = await following(desk, TRADE)
    entry = desk.hub.entries[TRADE]
    desk.hub.deliver(entry, "newest", 1, b"{}")
    await desk.until(lambda: len(messages(client)) == 2)
    looking = Audit(desk.hub)
    for _ in range(3):
        await looking.look()
    assert (desk.hub.counts["healed"], entry.epoch, len(messages(client))) == (0, "newest", 2)


@pytest.mark.usefixtures("asked")
async def test_what_comes_by_itself_is_not_fetched(desk: Desk) -> None:
    client = await following(desk, TRADE)
    looking = Audit(desk.hub)
    async with deaf(desk, TRADE):
        await desk.publish(TRADE, '{"n":2}')
        await looking.look()  # it is on its way
    entry = desk.hub.entries[TRADE]
    desk.hub.deliver(entry, entry.epoch, 2, b'{"n":2}')
    await looking.look()
    await desk.until(lambda: len(messages(client)) == 2)
    assert (desk.hub.counts["received"], desk.hub.counts["healed"]) == (1, 0)


async def test_a_busy_topic_is_not_asked_about(desk: Desk) -> None:
    client = await following(desk, TRADE)
    await desk.publish(TRADE, '{"n":2}')
    await desk.until(lambda: len(messages(client)) == 2)
    async with deaf(desk, TRADE):
        await desk.publish(TRADE, '{"n":3}')
    looking = Audit(desk.hub)
    for _ in range(3):
        await looking.look()
    assert desk.hub.counts["healed"] == 0  # the next trade will show it


@pytest.mark.usefixtures("asked")
async def test_a_look_asks_about_some_and_every_topic_has_its_turn(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "ASKED_A_LOOK", 2)
    names = [f"quote.S{number}" for number in range(5)]
    client = await following(desk, *names)
    async with deaf(desk, *names):
        for name in names:
            await desk.publish(name, '{"n":2}')
    looking = Audit(desk.hub)
    healed = []
    for _ in range(6):
        await looking.look()
        healed.append(desk.hub.counts["healed"])
    assert healed == [0, 2, 4, 5, 5, 5]
    await desk.until(lambda: len(messages(client)) == 10)
