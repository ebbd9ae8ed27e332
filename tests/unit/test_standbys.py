"""Feeds in line: the standby is held back, takes over without gap or repeat, and gives back after a while."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from marketdata import supervised
from marketdata.errors import FeedError
from tests.unit.feed_parts import HOLD_S, Works, running, until
from tests.unit.ingest_parts import NOW, quote, trade


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch) -> Works:
    monkeypatch.setattr(supervised, "FIRST_PAUSE_S", 0.001)
    return Works()


@asynccontextmanager
async def pair(works: Works) -> AsyncIterator[None]:
    """Feeds `a` and `b`, the standby; both have said trade 0."""
    feeds = works.feed("a"), works.feed("b", standby_for="a")
    works.line_up("a", "b")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(*feeds))
        for name in "ab":
            await works.say(name, [trade(0)])
        await works.published("t0")
        yield


async def test_a_standby_is_held_while_the_primary_is_well(works: Works) -> None:
    async with pair(works):
        await works.say("b", [trade(1)])
        await until(lambda: works.feeds["b"].status().held == 2)
        assert (works.feeds["a"].status().active_symbols, works.feeds["b"].status().active_symbols) == (2, 0)
        assert works.feeds["b"].status().healthy
        assert works.trades() == ["t0"]


async def test_what_the_standby_heard_goes_out_when_the_primary_dies(works: Works) -> None:
    async with pair(works):
        await works.say("b", [trade(1)])
        await works.say("a", FeedError("gone"))
        await works.wait(1)
        await works.published("t0", "t1")


async def test_a_mute_primary_is_relieved(works: Works) -> None:
    async with pair(works):
        for n in range(1, 20):
            await works.say("a", [trade(n)])
            await works.say("b", [trade(n)])
            await works.wait(1)
        await works.published(*(f"t{n}" for n in range(20)))
        for n in range(20, 32):
            await works.say("b", [trade(n)])
            await works.wait(1)
        await works.published(*(f"t{n}" for n in range(32)))
        assert works.feeds["a"].fault == "mute"


async def test_a_primary_that_sends_garbage_is_relieved(works: Works) -> None:
    async with pair(works):
        await works.say("a", [None] * 100)
        await works.say("b", [trade(1)])
        await works.wait(1)
        await works.published("t0", "t1")


@pytest.mark.parametrize("garbage", [trade(10**6), trade(symbol="NOBODY"), trade(price="-1")])
async def test_garbage_is_known_as_such_while_another_feed_writes(works: Works, garbage: Any) -> None:
    async with pair(works):
        await works.say("b", [garbage] * 100)
        await until(lambda: works.feeds["b"].fault == "garbage")
        assert works.feeds["b"].status().held == 1


async def test_the_primary_takes_back_after_its_hold_without_repeats(works: Works) -> None:
    async with pair(works):
        await works.say("a", FeedError("gone"))
        await works.say("b", [trade(1)])
        await works.published("t0", "t1")
        await until(lambda: works.venue.connects["a"] == 2)
        await works.say("a", [trade(0)], [trade(1)], [trade(2)])
        await works.say("b", [trade(2)])
        await works.published("t0", "t1", "t2")
        for _ in range(round(HOLD_S)):
            await works.wait(1)
            await works.say("a", [])
            await works.say("b", [])
        await works.say("a", [trade(2)], [trade(3)])
        await works.published("t0", "t1", "t2", "t3")
        assert works.feeds["a"].status().active_symbols == 2
        assert works.feeds["a"].status().duplicates >= 1


async def test_a_new_process_knows_from_the_store_where_its_topics_stand(works: Works) -> None:
    async with pair(works):
        await works.say("a", [quote(5), trade(5)])
        await works.published("t0", "t5")
    again = Works()
    again.venue = works.venue
    works.venue.says.clear()
    works.venue.ingest = works.venue.another_ingest()
    feeds = again.feed("a"), again.feed("b", standby_for="a")
    again.line_up("a", "b")
    async with running(*feeds):
        await again.say("a", [trade(4, id="late"), trade(5), quote(4), trade(6)])
        await again.published("t0", "t5", "t6")
        assert again.house.published("quote") == [quote(5)]
        assert (feeds[0].status().duplicates, feeds[0].status().backwards) == (1, 2)


async def test_a_feed_that_runs_already_can_be_given_a_standby(works: Works) -> None:
    feeds = works.feed("a"), works.feed("b", standby_for="a")
    async with running(*feeds):
        await works.say("a", [trade(1)])
        await works.published("t1")
        works.line_up("a", "b")
        await works.say("b", [trade(1)], [trade(2)])
        await until(lambda: feeds[1].status().held == 2)
        assert (feeds[0].status().active_symbols, feeds[1].status().active_symbols) == (2, 0)
        assert works.trades() == ["t1"]


async def test_while_the_store_cannot_be_asked_a_topic_begins_without(works: Works) -> None:
    async with running(works.feed("a"), works.feed("b", standby_for="a")):
        works.line_up("a", "b")
        works.house.store.away = True
        await works.say("a", [trade(1)])
        await until(lambda: works.feeds["a"].status().buffered == 1)
        works.house.store.away = False
        await works.published("t1")


async def test_a_far_future_that_waits_for_redis_does_not_bind_the_topic(works: Works) -> None:
    async with pair(works):
        works.house.store.away = True
        await works.say("a", [quote(10**6), trade(1)])
        await until(lambda: works.feeds["a"].status().buffered == 2)
        works.house.store.away = False
        await works.say("a", [quote(1)])
        await until(lambda: works.house.published("quote") == [quote(1)])
    assert quote(10**6).ts > NOW


async def test_a_feed_whose_publishing_died_publishes_again(works: Works) -> None:
    async with running(feed := works.feed("a")):
        await works.say("a", [trade(1)])
        assert feed._writing is not None
        feed._writing.cancel()
        await until(lambda: feed._writing is not None and feed._writing.done())
        await works.say("a", [trade(2)])
        feed.watch()
        await until(lambda: works.house.published("trade") == [trade(1), trade(2)])
