"""What happens by the clock."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from marketdata.store import now_us
from realtime.connection import Connection
from realtime.keeper import Keeper
from tests.conftest import Clock
from tests.integration.conftest import Desk, ListSink, messages

QUOTE, TRADE = "quote.AAPL", "trade.AAPL"


class Listed:
    """The instruments that the keeper asks for; a test delists one."""

    def __init__(self, *symbols: str, session: str = "always") -> None:
        self.symbols = set(symbols)
        self.session = session
        self.version = 1

    def get(self, symbol: str) -> Any:
        return self if symbol in self.symbols else None

    async def arefresh_if_older(self, seconds: float) -> None:
        pass

    def delist(self, symbol: str) -> None:
        self.symbols.discard(symbol)
        self.version += 1


@pytest.fixture
def listed() -> Listed:
    return Listed("AAPL")


@pytest.fixture
async def keeper(desk: Desk, listed: Listed) -> Keeper:
    return Keeper(desk.hub, listed, stale_after_s=30, slow_notice_s=2, slow_close_s=10)  # type: ignore[arg-type]


def heartbeat(keeper: Keeper, connection: Connection) -> Any:
    return json.loads(keeper.heartbeat(connection, keeper.hub.time()))


async def test_a_heartbeat_comes_once_an_interval(desk: Desk, keeper: Keeper) -> None:
    client = desk.connect()
    client.heartbeat_s = 60.0
    keeper.tick()
    keeper.tick()
    assert [message["n"] for message in messages(client)] == [1]


async def test_a_heartbeat_says_how_well_the_client_is_served(desk: Desk, keeper: Keeper) -> None:
    client = desk.connect()
    await desk.subscribe(client, TRADE)
    await desk.publish(TRADE, "{}", "{}")
    await desk.until(lambda: len(messages(client)) == 2)
    beat = heartbeat(keeper, client)
    assert (beat["sent"], beat["queued"], beat["lag_ms"], beat["stale"]) == (2, 0, 0, [])


async def test_sent_goes_on_counting_when_subscriptions_change(desk: Desk, keeper: Keeper) -> None:
    client = desk.connect()
    await desk.subscribe(client, TRADE)
    await desk.publish(TRADE, "{}")
    await desk.until(lambda: client.sent == 1)
    await desk.subscribe(client, QUOTE)
    await desk.publish(TRADE, "{}")
    await desk.until(lambda: client.sent == 2)


async def test_a_silent_topic_is_stale_while_its_session_is_open(desk: Desk, keeper: Keeper, listed: Listed) -> None:
    client = desk.connect()
    await desk.subscribe(client, QUOTE, TRADE)
    await desk.publish(QUOTE, "{}")
    await desk.until(lambda: messages(client))
    await desk.until(lambda: desk.hub.entries[QUOTE].changed_us > 0)
    await keeper.chores()
    assert heartbeat(keeper, client)["stale"] == [TRADE]
    desk.hub.entries[QUOTE].changed_us = now_us() - 31_000_000
    await keeper.chores()
    assert heartbeat(keeper, client)["stale"] == [QUOTE, TRADE]


async def test_a_delayed_topic_is_stale_by_what_its_followers_were_shown(clock: Clock, desk: Desk, keeper: Keeper) -> None:
    late, prompt = desk.connect(delay_s=900), desk.connect()
    await desk.subscribe(late, QUOTE)
    await desk.subscribe(prompt, QUOTE)
    await desk.publish(QUOTE, "{}")
    await desk.until(lambda: messages(prompt))
    for seconds, stale in [(0, ([QUOTE], [])), (900, ([], [QUOTE])), (31, ([QUOTE], [QUOTE]))]:
        clock.pass_s(seconds)
        for line in desk.hub.delays.lines():
            line.look()
        await keeper.chores()
        assert (heartbeat(keeper, late)["stale"], heartbeat(keeper, prompt)["stale"]) == stale


async def test_of_a_delayed_topic_the_session_of_then_counts(
    clock: Clock, desk: Desk, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, closed_us = desk.connect(delay_s=900), clock.us
    await desk.subscribe(late, QUOTE)
    monkeypatch.setattr("realtime.keeper.is_open", lambda session, ts_us: ts_us < closed_us)
    for seconds, stale in [(899, [QUOTE]), (2, [])]:
        clock.pass_s(seconds)
        await keeper.chores()
        assert heartbeat(keeper, late)["stale"] == stale


async def test_nothing_is_stale_while_the_market_is_closed(
    desk: Desk, keeper: Keeper, listed: Listed, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = desk.connect()
    await desk.subscribe(client, QUOTE)
    monkeypatch.setattr("realtime.keeper.is_open", lambda session, ts_us: False)
    await keeper.chores()
    assert heartbeat(keeper, client)["stale"] == []


async def test_a_delisted_symbol_is_evicted_from_delayed_followers_too(desk: Desk, keeper: Keeper, listed: Listed) -> None:
    client = desk.connect(delay_s=900)
    await desk.subscribe(client, QUOTE)
    listed.delist("AAPL")
    await keeper.chores()
    assert [message["code"] for message in messages(client)] == [2002]


async def test_a_delisted_symbol_is_evicted(desk: Desk, keeper: Keeper, listed: Listed) -> None:
    client = desk.connect()
    await desk.subscribe(client, QUOTE)
    await keeper.chores()
    listed.delist("AAPL")
    await keeper.chores()
    assert messages(client) == [{"type": "evicted", "topic": QUOTE, "code": 2002, "name": "symbol_disabled"}]


async def test_a_slow_socket_is_told_then_closed(desk: Desk, keeper: Keeper) -> None:
    client = desk.connect()
    sink = client.sink
    assert isinstance(sink, ListSink)
    await desk.subscribe(client, TRADE)
    sink.full = True
    await desk.publish(TRADE, "{}")
    await desk.until(lambda: desk.hub.slow)
    assert client.slow_since is not None
    client.slow_since -= 3
    keeper.tick()
    keeper.tick()
    assert client.outbox is not None
    assert [json.loads(message)["kind"] for message in client.outbox.control] == ["slow"]
    client.slow_since -= 8
    keeper.tick()
    assert sink.closed == (4008, "slow_consumer")


async def test_a_chore_that_fails_is_noticed_and_forgiven(desk: Desk, keeper: Keeper, listed: Listed) -> None:
    async def fail(seconds: float) -> None:
        raise RuntimeError("database away")

    works, listed.arefresh_if_older = listed.arefresh_if_older, fail  # type: ignore[method-assign]
    keeper.start()
    await desk.until(lambda: not keeper.alive)
    listed.arefresh_if_older = works  # type: ignore[method-assign]
    await desk.until(lambda: keeper.alive)
    await keeper.stop()


async def test_heartbeats_go_on_while_the_database_keeps_a_chore_waiting(desk: Desk, keeper: Keeper, listed: Listed) -> None:
    answered, asked = asyncio.Event(), asyncio.Event()

    async def wait(seconds: float) -> None:
        asked.set()
        await answered.wait()

    listed.arefresh_if_older = wait  # type: ignore[method-assign]
    client = desk.connect()
    client.heartbeat_s = 0.1
    keeper.start()
    await asked.wait()
    before = len(messages(client))
    await desk.until(lambda: len(messages(client)) > before + 2)
    answered.set()
    await keeper.stop()
