"""Connections whose plan limits their bytes, looked at by a clock that the test moves."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from realtime import protocol
from realtime.connection import Connection
from realtime.keeper import Keeper
from realtime.limits import Limits
from realtime.principal import Principal
from realtime.trials import trials
from tests.integration.conftest import Desk, ListSink, messages
from tests.integration.test_keeper import Listed

QUOTE, TRADE = "quote.AAPL", "trade.AAPL"
RATE = 40_000
PAD = json.dumps({"pad": "x" * 1000})
UNLIMITED = Principal(1, "ada", "free", Limits(50, 2, None, 10, 40, frozenset()))


def limited(rate: int | None = RATE, **limits: Any) -> Principal:
    changed = msgspec.structs.replace(UNLIMITED.limits, bytes_per_second=rate, **limits)
    return msgspec.structs.replace(UNLIMITED, limits=changed)


class Clock:
    """The hub's, moved by hand, with the look that the keeper takes four times a second."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.now = 1000.0
        desk.hub.time = lambda: self.now  # type: ignore[method-assign]

    def go(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.25)):
            self.now += 0.25
            self.desk.hub.allowances.look()


@pytest.fixture
def clock(desk: Desk) -> Clock:
    return Clock(desk)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    trials.forget()
    yield
    trials.forget()


def sink(connection: Connection) -> ListSink:
    assert isinstance(connection.sink, ListSink)
    return connection.sink


def seqs(connection: Connection, topic: str = TRADE) -> list[int]:
    return [message["seq"] for message in messages(connection) if message.get("topic") == topic and message["type"] != "gap"]


def kinds(connection: Connection) -> list[str]:
    return [message["kind"] for message in messages(connection) if message["type"] == "notice"]


async def follow(desk: Desk, *topics: str, principal: Principal | None = None) -> Connection:
    connection = desk.connect()
    desk.hub.identify(connection, principal or limited())
    await desk.subscribe(connection, *topics)
    return connection


async def publish(desk: Desk, topic: str, count: int) -> int:
    """Publish so many kilobytes and wait until they are flushed; the newest seq."""
    await desk.publish(topic, *itertools.repeat(PAD, count))
    entry = desk.hub.entries[topic]
    newest = (await desk.store.latest([topic]))[0]
    assert newest is not None
    await desk.until(lambda: entry.seq == newest.seq and not entry.pending)
    return newest.seq


async def test_who_stays_below_is_not_touched(desk: Desk, clock: Clock) -> None:
    client = await follow(desk, TRADE)
    for _ in range(8):
        await publish(desk, TRADE, 9)
        clock.go(0.25)
        assert client.outbox is None
    assert seqs(client) == list(range(1, 73))
    assert kinds(client) == []


async def test_who_was_sent_too_much_gets_no_more_than_the_plan_allows(desk: Desk, clock: Clock) -> None:
    client, other = await follow(desk, TRADE), await follow(desk, TRADE, principal=UNLIMITED)
    for _ in range(40):
        await publish(desk, TRADE, 30)
        clock.go(0.25)
    assert client.sent_bytes <= RATE + 10 * RATE + 2000  # a second that was saved up, and a message too many
    assert client.sent_bytes >= 10 * RATE
    assert other.sent_bytes > 1_200_000
    assert client.slow_since is None


async def test_what_is_lost_is_named_and_the_newest_arrives(desk: Desk, clock: Clock) -> None:
    desk.hub.slow.most_updates = 20
    client = await follow(desk, TRADE, QUOTE)
    for _ in range(12):
        await publish(desk, TRADE, 40)
        await publish(desk, QUOTE, 10)
        clock.go(0.25)
    clock.go(30)
    told, last = [message for message in messages(client) if message.get("topic") == TRADE], 0
    for message in told:
        assert message.get("from", message.get("seq")) == last + 1
        last = message.get("to", message.get("seq"))
    assert last == 480
    assert seqs(client, QUOTE)[-1] == 120
    assert client.gaps == sum(message["type"] == "gap" for message in told) > 0
    assert client.conflated > 0


async def test_it_is_told_once_a_minute_and_is_no_slow_client(desk: Desk, clock: Clock) -> None:
    keeper = Keeper(desk.hub, Listed("AAPL"), stale_after_s=30, slow_notice_s=2, slow_close_s=10)  # type: ignore[arg-type]
    client = await follow(desk, TRADE)
    for _ in range(3):
        await publish(desk, TRADE, 100)
        clock.go(20)
        keeper.tick()
    assert kinds(client) == ["limits"]
    assert sink(client).closed is None
    assert desk.hub.counts["slowed"] == 0
    assert desk.hub.counts["limited"] == 3
    await publish(desk, TRADE, 100)
    clock.go(1)
    assert kinds(client) == ["limits", "limits"]


async def test_heartbeats_and_replies_go_ahead_and_say_what_waits(desk: Desk, clock: Clock) -> None:
    keeper = Keeper(desk.hub, Listed("AAPL"), stale_after_s=30, slow_notice_s=2, slow_close_s=10)  # type: ignore[arg-type]
    client = await follow(desk, TRADE)
    keeper.tick()
    await publish(desk, TRADE, 200)
    clock.go(0.25)
    await publish(desk, TRADE, 7)
    client.say(protocol.message("pong", 1))
    assert messages(client)[-1] == {"type": "pong", "id": 1}
    client.beat_at = 0.0
    keeper.tick()
    beat = messages(client)[-1]
    assert client.outbox is not None
    assert (beat["type"], beat["queued"], beat["lag_ms"]) == ("heartbeat", len(client.outbox), 0)
    assert beat["queued"] >= 7


async def test_who_drained_is_served_like_everybody_else_again(desk: Desk, clock: Clock) -> None:
    client = await follow(desk, TRADE)
    await publish(desk, TRADE, 100)
    clock.go(0.25)
    assert client.outbox is not None
    clock.go(10)
    assert (client.outbox, len(desk.hub.slow)) == (None, 0)
    await publish(desk, TRADE, 1)
    assert seqs(client)[-1] == 101
    assert client.messages == len(messages(client))


async def test_who_would_be_over_again_at_once_does_not_go_back(desk: Desk, clock: Clock) -> None:
    client = await follow(desk, QUOTE)
    for _ in range(40):  # of which it is sent the newest only, which is little
        for _ in range(20):
            await publish(desk, QUOTE, 1)
        clock.go(0.25)
    assert client.outbox is not None
    assert desk.hub.counts["limited"] == 1
    assert seqs(client, QUOTE)[-1] == 800


async def test_a_socket_that_takes_nothing_is_slow_all_the_same(desk: Desk, clock: Clock) -> None:
    keeper = Keeper(desk.hub, Listed("AAPL"), stale_after_s=30, slow_notice_s=2, slow_close_s=10)  # type: ignore[arg-type]
    client = await follow(desk, TRADE)
    await publish(desk, TRADE, 100)
    clock.go(0.25)
    assert client.slow_since is None
    sink(client).full = True
    clock.go(0.25)
    assert client.slow_since == clock.now
    client.slow_since = asyncio.get_running_loop().time() - 11  # the keeper's clock
    keeper.tick()
    assert sink(client).closed == (4008, "slow_consumer")


async def test_a_socket_that_takes_bytes_again_is_held_back_as_before(desk: Desk, clock: Clock) -> None:
    client = await follow(desk, TRADE)
    await publish(desk, TRADE, 100)
    clock.go(0.25)
    got = seqs(client)
    sink(client).full = True
    await publish(desk, TRADE, 1)
    client.say(protocol.message("pong", 1))
    sink(client).drain()
    assert messages(client)[-1] == {"type": "pong", "id": 1}  # the trades wait for their allowance
    assert (client.slow_since, seqs(client)) == (None, got)
    clock.go(3)
    assert seqs(client)[-1] == 101


async def test_a_limit_that_comes_counts_from_then_on_and_one_that_goes_frees_what_waits(desk: Desk, clock: Clock) -> None:
    client = await follow(desk, TRADE, principal=UNLIMITED)
    await publish(desk, TRADE, 200)
    clock.go(1)
    assert client.outbox is None
    desk.hub.identify(client, limited())
    await publish(desk, TRADE, 200)
    clock.go(0.25)
    assert 200 < seqs(client)[-1] < 400
    await publish(desk, TRADE, 50)
    desk.hub.identify(client, UNLIMITED)
    assert (seqs(client), client.outbox, client.allowance) == (list(range(1, 451)), None, None)


async def test_a_limit_that_is_raised_is_taken_over_by_the_next_look(desk: Desk, clock: Clock) -> None:
    client = await follow(desk, TRADE)
    await publish(desk, TRADE, 200)
    clock.go(0.25)
    await publish(desk, TRADE, 50)
    client.principal = limited(100 * RATE)
    clock.go(0.25)
    assert seqs(client)[-1] == 250


async def test_a_limit_on_trial_holds_nothing_back_and_counts_once_a_second(desk: Desk, clock: Clock) -> None:
    client = await follow(desk, TRADE, principal=limited(dry_run=frozenset({"bytes_per_second"})))
    for _ in range(12):
        await publish(desk, TRADE, 100)
        clock.go(0.25)
    assert seqs(client) == list(range(1, 1201))
    assert (client.outbox, kinds(client), trials.counts()) == (None, [], {"free.bytes_per_second": 3})


async def test_a_limit_that_goes_on_trial_frees_what_waits(desk: Desk, clock: Clock) -> None:
    client = await follow(desk, TRADE)
    await publish(desk, TRADE, 200)
    clock.go(0.25)
    await publish(desk, TRADE, 50)
    desk.hub.identify(client, limited(dry_run=frozenset({"bytes_per_second"})))
    clock.go(0.25)
    assert (seqs(client)[-1], client.outbox) == (250, None)


async def test_a_connection_that_ends_is_forgotten_whoever_speaks_of_it_then(desk: Desk, clock: Clock) -> None:
    client = await follow(desk, TRADE)
    await publish(desk, TRADE, 200)
    clock.go(0.25)
    desk.hub.detach(client)
    desk.hub.identify(client, limited())
    clock.go(1)
    assert (client.allowance, len(desk.hub.slow)) == (None, 0)
