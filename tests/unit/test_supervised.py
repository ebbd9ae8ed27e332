"""A feed at work: silence, rubbish and floods are noticed, bounded and counted, and disturb nobody else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from marketdata import supervised
from marketdata.feeds import FeedSettings
from marketdata.pulse import FIRST_S, LEAST_S
from marketdata.refusals import LEAST
from marketdata.roster import Entry
from marketdata.supervised import SupervisedFeed
from tests.unit.feed_parts import Works, running, until
from tests.unit.ingest_parts import instrument, quote, trade


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch) -> Works:
    monkeypatch.setattr(supervised, "FIRST_PAUSE_S", 0.001)
    return Works()


# silence


async def test_a_feed_that_goes_mute_is_connected_again(works: Works, caplog: pytest.LogCaptureFixture) -> None:
    async with running(feed := works.feed("a")):
        for n in range(20):
            await works.say("a", [trade(n)])
            await works.wait(1)
        assert feed.status().healthy
        await works.wait(LEAST_S + 1)
        await until(lambda: works.venue.connects["a"] == 2)
        status = feed.status()
        assert (status.healthy, status.connected, status.fault, status.failures) == (False, False, "mute", 1)
        assert "nothing came for" in status.last_error
        await works.say("a", [trade(30)])
        await until(lambda: feed.status().healthy)
    assert works.venue.closed["a"] == 2
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


async def test_a_feed_that_never_says_anything_is_mute(works: Works) -> None:
    async with running(feed := works.feed("a")):
        await until(lambda: "a" in works.venue.says)
        await works.wait(FIRST_S)
        assert feed.fault == ""
        await works.wait(2)
        assert feed.fault == "mute"


async def test_a_feed_of_a_closed_market_may_be_silent(works: Works) -> None:
    works.house.instruments.rows = [instrument("X", session="us")]
    works.house.instruments.refresh()
    async with running(feed := works.feed("a")):
        await works.say("a", [trade(0)])
        await works.wait(3600)
        assert feed.status().healthy


async def test_a_feed_that_can_wait_may_be_silent(works: Works) -> None:
    works.venue.patient = True
    async with running(feed := works.feed("a")):
        await works.say("a", [trade(0)])
        await works.wait(3600)
        assert feed.status().healthy


async def test_an_empty_batch_is_a_sign_of_life(works: Works) -> None:
    async with running(feed := works.feed("a")):
        for _ in range(10):
            await works.say("a", [])
            await works.wait(FIRST_S - 5)
        assert feed.status().healthy


async def test_a_venue_that_does_not_answer_is_given_up_and_asked_again(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised, "CONNECT_S", 0.001)

    async def connect(_: Entry) -> Any:
        await asyncio.Event().wait()

    feed = SupervisedFeed(Entry("a", "demo", FeedSettings()), connect, known=works.house.instruments)
    async with running(feed):
        await until(lambda: feed.status().failures > 1)
        assert (feed.status().fault, feed.status().last_error) == ("disconnected", "not connected within 0.001 s")


async def test_a_venue_that_does_not_let_go_holds_nobody_up(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised, "CLOSE_S", 0.001)

    async def clinging() -> AsyncIterator[Any]:
        try:
            yield []
        finally:
            await asyncio.Event().wait()

    stream: Any = clinging()
    await anext(stream)
    async with asyncio.timeout(5):
        await supervised._close(stream)


# rubbish


@pytest.mark.parametrize("rubbish", [7, "trade", [None], [{"type": "trade"}], [quote(ts="now")], [trade(id=7)], object()])
async def test_rubbish_is_counted_and_what_is_good_goes_on(works: Works, rubbish: Any) -> None:
    async with running(feed := works.feed("a"), works.feed("b")):
        await works.say("a", [trade(1)], rubbish, rubbish, [trade(2)])
        await works.say("b", [trade(3)])
        await until(lambda: len(works.trades()) == 3)
        assert feed.status().rejected >= 2
        assert feed.status().healthy
        assert works.venue.connects == {"a": 1, "b": 1}


async def test_rubbish_is_logged_once(works: Works, caplog: pytest.LogCaptureFixture) -> None:
    async with running(feed := works.feed("a")):
        await works.say("a", *[[None]] * (LEAST - 1))
        await until(lambda: feed.status().rejected == LEAST - 1)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("garbage", [None, trade(price="-1"), trade(symbol="NOBODY")])
async def test_a_feed_that_sends_garbage_is_not_well_until_it_mends(works: Works, garbage: Any) -> None:
    async with running(feed := works.feed("a")):
        await works.say("a", [garbage] * LEAST)
        await until(lambda: feed.status().fault == "garbage")
        assert feed.status().connected
        await works.wait(20)
        await works.say("a", [trade(n) for n in range(LEAST)])
        await until(lambda: feed.status().healthy)
    assert works.venue.connects["a"] == 1


async def test_ticks_of_instruments_that_the_operator_switched_off_are_no_garbage(works: Works) -> None:
    async with running(feed := works.feed("a")):
        await works.say("a", [trade(n, symbol="OLD") for n in range(100)])
        await until(lambda: feed.status().rejected == 100)
        assert feed.status().healthy


async def test_a_feed_that_cancels_itself_is_connected_again(works: Works) -> None:
    async with running(feed := works.feed("a")):
        await works.say("a", [trade(1)], asyncio.CancelledError())
        await until(lambda: works.venue.connects["a"] == 2)
        assert feed.status().last_error == "it was cancelled from within"


async def test_a_batch_that_breaks_publishing_is_lost_alone(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = works.venue.ingest.aoffer

    async def breaks(ticks: Any, wait: float = 0.0) -> Any:
        if ticks[0].id == "t2":
            raise ZeroDivisionError
        return await sound(ticks, wait)

    monkeypatch.setattr(works.venue.ingest, "aoffer", breaks)
    async with running(feed := works.feed("a")):
        for n in (1, 2, 3):
            await works.say("a", [trade(n)])
            await until(lambda n=n: feed.status().ticks + feed.status().lost == n)
        assert works.trades() == ["t1", "t3"]
        assert feed.status().lost == 1


# floods


async def test_a_flood_is_shed_counted_and_told_once(works: Works, caplog: pytest.LogCaptureFixture) -> None:
    async with running(feed := works.feed("a", most_per_s=10)):
        await works.say("a", [quote(n) for n in range(20)] + [trade(n) for n in range(20)])
        await until(lambda: feed.inflow.is_flooded(works.now))
        await works.wait(1)
        assert (feed.status().flooded, feed.status().healthy) == (True, True)
        while "t19" not in works.trades():
            await works.wait(1)
        status = feed.status()
        assert status.ticks + status.shed + status.conflated == 40
        assert status.shed > 0
        await works.wait(10)
        assert not feed.status().flooded
    assert [record.message for record in caplog.records if "a second" in record.message] == [
        "feed a: flood: more than 10 ticks a second; the rest is shed"
    ]


async def test_a_feed_that_never_pauses_leaves_the_others_their_turn(works: Works) -> None:
    class Endless:
        def listings(self) -> list[Any]:
            return []

        async def stream(self) -> AsyncIterator[Any]:
            n = 0
            while True:
                yield [trade(n := n + 1)]

    async def connect(entry: Entry) -> Any:
        return Endless(), works.venue.ingest

    endless = SupervisedFeed(Entry("endless", "demo", FeedSettings(), most_per_s=100), connect, known=works.house.instruments)
    async with running(works.feed("b"), endless):
        await until(lambda: endless.inflow.shed)
        await works.say("b", [trade(1, symbol="Y")])
        await until(lambda: [tick for tick in works.house.published("trade") if tick.symbol == "Y"])
        assert len(endless.inflow) <= 120


async def test_a_feed_that_can_wait_is_slowed_and_loses_nothing(works: Works) -> None:
    works.venue.patient = True
    async with running(feed := works.feed("a", most_per_s=10)):
        await works.say("a", [trade(n) for n in range(50)])
        while len(works.trades()) < 50:
            await works.wait(1)
        assert feed.status().shed == 0
    assert works.trades() == [f"t{n}" for n in range(50)]


# Redis


async def test_while_redis_is_away_ticks_wait_and_the_feed_stays(works: Works, caplog: pytest.LogCaptureFixture) -> None:
    async with running(feed := works.feed("a")):
        works.house.store.away = True
        await works.say("a", [quote(), trade(1)], [trade(2)])
        await until(lambda: feed.status().buffered == 3)
        works.house.store.away = False
        await works.published("t1", "t2")
    assert works.venue.connects["a"] == 1
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


async def test_while_redis_is_away_a_feed_that_can_wait_does(works: Works) -> None:
    works.venue.patient = True
    async with running(feed := works.feed("a")):
        works.house.store.away = True
        await works.say("a", [trade(1)])
        await until(lambda: feed.status().buffered == 1)
        await works.say("a", [trade(2)])
        await until(lambda: feed.status().waiting == 1)
        assert feed.status().buffered == 1
        works.house.store.away = False
        await works.published("t1", "t2")


async def test_what_came_in_before_the_end_is_published(works: Works) -> None:
    async with running(works.feed("a", most_per_s=1000)):
        await works.say("a", [trade(n / 10) for n in range(300)])
    assert len(works.trades()) == 300
