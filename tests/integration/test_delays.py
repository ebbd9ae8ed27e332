"""Delayed topics on real Redis: what their followers see, when, and what it leaves behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from marketdata.errors import StoreUnavailable
from marketdata.message import write_message
from marketdata.topics import parse
from realtime.census import topics
from realtime.codes import Eviction
from tests.conftest import Clock
from tests.integration.conftest import Desk, ListSink, messages, principal
from tests.integration.delay_parts import DELAY_S, DELAY_US, KLINE, QUOTE, TRADE, body, entry, got, held, held_are, late, show
from tests.integration.test_hub import numsub


@pytest.fixture
def desk(clock: Clock, desk: Desk) -> Desk:
    """A hub whose wall clock stands still."""
    return desk


# When


async def test_an_update_is_shown_when_it_is_old_enough_and_not_before(desk: Desk, clock: Clock) -> None:
    client = late(desk)
    await desk.subscribe(client, TRADE)
    await desk.publish(TRADE, body(1))
    await held_are(desk, 1)
    clock.pass_s(DELAY_S - 0.001)
    show(desk)
    assert messages(client) == []
    clock.pass_s(0.001)
    show(desk)
    assert messages(client)[0]["data"]["n"] == 1


async def test_a_line_looks_by_itself(desk: Desk, clock: Clock) -> None:
    client = late(desk)
    await desk.subscribe(client, TRADE)
    await desk.publish(TRADE, body(1))
    await held_are(desk, 1)
    clock.pass_s(DELAY_S)  # as when the clock is set: it is noticed within a second
    await desk.until(lambda: got(client))


async def test_a_real_time_follower_beside_it_waits_for_nothing(desk: Desk, redis_url: str) -> None:
    client, other = late(desk), desk.connect()
    await desk.subscribe(client, TRADE)
    await desk.subscribe(other, TRADE)
    await desk.publish(TRADE, body(1))
    await desk.until(lambda: got(other))
    assert (got(client), held(desk), await numsub(desk, redis_url, TRADE)) == ([], 1, [1])


async def test_a_topic_begins_with_the_newest_update_that_is_old_enough(desk: Desk, clock: Clock) -> None:
    for n in range(1, 6):
        await desk.publish(TRADE, body(n))
        clock.pass_s(300)
    client = late(desk)  # the five are 1500, 1200, 900, 600 and 300 seconds old
    await desk.subscribe(client, TRADE)
    assert got(client) == [("snapshot", 3)]
    clock.pass_s(299)
    show(desk)
    assert len(messages(client)) == 1
    clock.pass_s(1)
    show(desk)
    clock.pass_s(300)
    show(desk)
    assert got(client)[1:] == [("update", 4), ("update", 5)]


async def test_a_topic_whose_history_does_not_reach_back_begins_without_a_value(desk: Desk, clock: Clock) -> None:
    await desk.publish(TRADE, *(body(n) for n in range(450)))  # more than are kept
    kept = (await desk.store.history(TRADE)).updates
    client = late(desk)
    await desk.subscribe(client, TRADE)
    assert (messages(client), entry(desk, TRADE).epoch, entry(desk, TRADE).seq) == ([], "", 0)
    clock.pass_s(DELAY_S)
    show(desk)
    assert got(client)[0] == ("snapshot", kept[0].seq)
    assert [seq for _, seq in got(client)] == [update.seq for update in kept]


async def test_a_long_history_is_read_in_portions(desk: Desk, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.delays.FEW", 7)
    monkeypatch.setattr("realtime.delays.MORE", 10)
    for n in range(1, 61):
        await desk.publish(TRADE, body(n))
        clock.pass_s(DELAY_S / 41.5)
    asked, history = [], desk.store.history
    monkeypatch.setattr(desk.store, "history", lambda topic, **which: asked.append(which["to_seq"]) or history(topic, **which))
    client = late(desk)
    await desk.subscribe(client, TRADE)
    assert (got(client), held(desk), asked) == ([("snapshot", 19)], 41, [53, 43, 33, 23])


# Beginning


async def test_what_is_published_while_the_history_is_read_comes_once(
    desk: Desk, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.publish(TRADE, body(1))
    clock.pass_s(DELAY_S)
    await desk.publish(TRADE, body(2))
    client, other = late(desk), desk.connect()
    await desk.subscribe(other, TRADE)
    recall = desk.store.recall

    async def recall_slowly(*which: Any) -> Any:
        await desk.publish(TRADE, body(3))
        await desk.until(lambda: desk.hub.entries[TRADE].seq == 3)
        found = await recall(*which)
        await desk.publish(TRADE, body(4))
        await desk.until(lambda: desk.hub.entries[TRADE].seq == 4)
        return found

    monkeypatch.setattr(desk.store, "recall", recall_slowly)
    await desk.subscribe(client, TRADE)
    clock.pass_s(DELAY_S)
    show(desk)
    assert got(client) == [("snapshot", 1), ("update", 2), ("update", 3), ("update", 4)]


async def test_an_epoch_that_begins_while_the_history_is_read_comes_after_it(
    desk: Desk, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.publish(TRADE, body(1))
    clock.pass_s(DELAY_S)
    await desk.publish(TRADE, body(2))
    client, recall = late(desk), desk.store.recall

    async def recall_slowly(*which: Any) -> Any:
        found = await recall(*which)
        await desk.store.client.delete(*[key async for key in desk.store.client.scan_iter(f"{desk.store.layout.prefix}:*")])
        await desk.publish(TRADE, body(3), body(4))
        await desk.until(lambda: TRADE in desk.hub.entries and desk.hub.entries[TRADE].seq in (0, 2))
        return found

    await desk.subscribe(desk.connect(), TRADE)
    monkeypatch.setattr(desk.store, "recall", recall_slowly)
    await desk.subscribe(client, TRADE)
    clock.pass_s(DELAY_S)
    show(desk)
    assert got(client) == [("snapshot", 1), ("update", 2), ("snapshot", 1), ("update", 2)]
    assert [message["data"]["n"] for message in messages(client)] == [1, 2, 3, 4]


async def test_the_store_is_read_once_for_all_who_come_at_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.publish(TRADE, body(1))
    await desk.subscribe(desk.connect(), TRADE)
    asked, recall = [], desk.store.recall
    monkeypatch.setattr(desk.store, "recall", lambda *which: asked.append(which) or recall(*which))
    await asyncio.gather(*(desk.subscribe(late(desk), TRADE) for _ in range(20)))
    assert (len(asked), len(desk.hub.delays.lines())) == (1, 1)


async def test_a_store_that_does_not_answer_leaves_nothing_behind(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.subscribe(desk.connect(), TRADE)

    async def refuse(*_: Any) -> Any:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(desk.store, "recall", refuse)
        tries = [desk.hub.ensure([parse(TRADE)], delay_us=DELAY_US) for _ in range(2)]
        assert {type(found) for found in await asyncio.gather(*tries, return_exceptions=True)} == {StoreUnavailable}
    assert (desk.hub.delays.lines(), desk.hub.entries[TRADE].lines) == ([], ())
    desk.hub.joins.answers()
    await desk.subscribe(late(desk), TRADE)


async def test_a_store_that_goes_away_half_way_leaves_what_is_ready(
    desk: Desk, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, recall, asked = late(desk), desk.store.recall, []
    await desk.subscribe(desk.connect(), TRADE, QUOTE)

    async def answer_once(*which: Any) -> Any:
        asked.append(which)
        if len(asked) == 1:
            return await recall(*which)
        await desk.subscribe(client, TRADE)  # somebody is quick
        raise StoreUnavailable("away")

    monkeypatch.setattr("realtime.delays.READ_AT_ONCE", 1)
    monkeypatch.setattr(desk.store, "recall", answer_once)
    with pytest.raises(StoreUnavailable):
        await desk.hub.ensure([parse(TRADE), parse(QUOTE)], delay_us=DELAY_US)
    assert list(desk.hub.delays.entries(DELAY_US)) == [TRADE]
    await desk.publish(TRADE, body(1))
    await held_are(desk, 1)
    clock.pass_s(DELAY_S)
    show(desk)
    assert got(client) == [("snapshot", 1)]


# What


async def test_of_a_latest_topic_a_line_keeps_the_last_value_of_each_grain(desk: Desk, clock: Clock) -> None:
    client = late(desk)  # a grain is 0.9 s
    await desk.subscribe(client, QUOTE)
    for n in range(1, 9):
        await desk.publish(QUOTE, body(n))
        await desk.until(lambda n=n: desk.hub.entries[QUOTE].seq == n)
        clock.pass_s(0.3)
    assert held(desk) <= 4
    clock.pass_s(DELAY_S)
    show(desk)
    assert got(client, QUOTE)[-1][1] == 8


async def test_a_closed_bar_is_never_conflated_away(desk: Desk, clock: Clock) -> None:
    client = late(desk)
    await desk.subscribe(client, KLINE)
    await desk.publish(KLINE, *(body(n, closed=n % 10 == 0) for n in range(1, 41)))
    await desk.until(lambda: desk.hub.entries[KLINE].seq == 40)
    assert held(desk) == 4  # all of one grain
    clock.pass_s(DELAY_S)
    show(desk)
    assert [message["data"]["n"] for message in messages(client) if message["data"]["closed"]] == [10, 20, 30, 40]


async def test_a_full_line_loses_its_oldest_trades_and_says_so(desk: Desk, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    client = late(desk)
    await desk.publish(TRADE, body(1))
    clock.pass_s(DELAY_S)
    await desk.subscribe(client, TRADE)
    monkeypatch.setattr("realtime.delays.MOST", 3)
    await desk.publish(TRADE, *(body(n) for n in range(2, 9)))
    await desk.until(lambda: desk.hub.entries[TRADE].seq == 8)
    clock.pass_s(DELAY_S)
    show(desk)
    assert got(client) == [("snapshot", 1), ("gap", (2, 5)), ("update", 6), ("update", 7), ("update", 8)]
    assert [message["reason"] for message in messages(client) if message["type"] == "gap"] == ["overflow"]


async def test_a_loss_is_announced_when_its_time_comes(desk: Desk, clock: Clock) -> None:
    await desk.publish(TRADE, body(1))
    clock.pass_s(DELAY_S)
    client, other = late(desk), desk.connect()
    await desk.subscribe(client, TRADE)
    await desk.subscribe(other, TRADE)
    real = desk.hub.entries[TRADE]
    desk.hub.receiver(real)(write_message(TRADE, real.epoch, 9, body(9).encode()))  # 2 to 8 exist nowhere
    await desk.until(lambda: got(other)[1:] == [("gap", (2, 8)), ("update", 9)])
    assert got(client) == [("snapshot", 1)]
    clock.pass_s(DELAY_S)
    show(desk)
    assert got(client) == [("snapshot", 1), ("gap", (2, 8)), ("update", 9)]


async def test_a_rate_holds_for_delayed_topics_too(desk: Desk, clock: Clock) -> None:
    client = late(desk)
    await desk.subscribe(client, QUOTE, rate=0.1)
    for n in range(1, 4):
        await desk.publish(QUOTE, body(n))
        await desk.until(lambda n=n: desk.hub.entries[QUOTE].seq == n)
        clock.pass_s(2)
    clock.pass_s(DELAY_S)
    show(desk)
    assert len(got(client, QUOTE)) == 1


# Coming and going


async def test_a_line_keeps_the_group_and_goes_with_its_last_follower(desk: Desk, redis_url: str) -> None:
    client = late(desk)
    await desk.subscribe(client, TRADE)
    await desk.hub.forget_idle()
    assert await numsub(desk, redis_url, TRADE) == [1]
    desk.hub.unsubscribe(client, [TRADE])
    await desk.hub.forget_idle()
    assert (len(desk.hub.delays.lines()), await numsub(desk, redis_url, TRADE)) == (1, [1])  # it lingers
    entry(desk, TRADE).idle_since -= 301
    await desk.hub.forget_idle()
    assert (desk.hub.delays.lines(), desk.hub.entries, await numsub(desk, redis_url, TRADE)) == ([], {}, [0])


@pytest.mark.parametrize(("delay_s", "linger_s"), [(2, 10.0), (60, 60.0), (900, 300.0)])
async def test_a_line_lingers_as_long_as_it_is_dear(desk: Desk, delay_s: int, linger_s: float) -> None:
    desk.hub.linger_s = 10.0
    assert desk.hub.delays.linger_s(delay_s * 1_000_000) == linger_s


async def test_an_eviction_reaches_every_delay(desk: Desk) -> None:
    clients = [late(desk), desk.connect(), desk.connect(delay_s=5)]
    for client in clients:
        await desk.subscribe(client, TRADE)
    assert desk.hub.evict(TRADE, Eviction.SYMBOL_DISABLED) == 3
    assert [messages(client)[0]["type"] for client in clients] == ["evicted"] * 3


async def test_operators_are_shown_all_followers_of_a_topic(desk: Desk) -> None:
    for client in (late(desk), late(desk), desk.connect()):
        await desk.subscribe(client, TRADE)
    await desk.subscribe(late(desk), QUOTE)
    found = topics(desk.hub, 10, "subscribers", {}).topics
    assert [(row.topic, row.subscribers) for row in found] == [(TRADE, 3), (QUOTE, 1)]


async def test_who_gets_another_delay_is_closed_to_begin_anew(desk: Desk) -> None:
    client = desk.connect()
    await desk.subscribe(client, TRADE)
    desk.hub.identify(client, principal(DELAY_S))
    assert isinstance(client.sink, ListSink)
    assert client.sink.closed == (4011, "state_invalidated")
    assert (messages(client)[-1]["type"], messages(client)[-1]["code"]) == ("notice", 4011)


async def test_who_follows_nothing_yet_may_get_another_delay(desk: Desk) -> None:
    client = desk.connect()
    desk.hub.identify(client, principal(DELAY_S))
    await desk.subscribe(client, TRADE)
    assert isinstance(client.sink, ListSink)
    assert (client.sink.closed, len(desk.hub.delays.lines())) == (None, 1)


async def test_what_the_bus_lost_is_shown_a_delay_after_it_was_found(desk: Desk, clock: Clock) -> None:
    client = late(desk)
    await desk.subscribe(client, TRADE)
    await desk.hub.bus.unfollow([desk.hub.entries[TRADE].channel])
    await desk.publish(TRADE, body(1), body(2))
    clock.pass_s(60)
    await desk.hub.repairs.resync(list(desk.hub.entries.values()))
    await held_are(desk, 2)
    clock.pass_s(DELAY_S - 1)
    show(desk)
    assert got(client) == []
    clock.pass_s(1)
    show(desk)
    assert got(client) == [("snapshot", 1), ("update", 2)]
