"""The supervisor: a dead feed is connected again and disturbs nobody; an edited one is restarted, and only that."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from django.db import OperationalError

from marketdata import supervised as supervised_feed
from marketdata import supervisor
from marketdata.errors import FeedError
from marketdata.feeds import FeedSettings
from marketdata.roster import Entry
from marketdata.supervisor import Supervisor
from tests.unit.feed_parts import Venue, until
from tests.unit.ingest_parts import quote, trade

A, B = (Entry(name, "demo", FeedSettings()) for name in "ab")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(supervised_feed, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(supervisor, "ROSTER_S", 0.001)
    monkeypatch.setattr(supervisor, "TICK_S", 0.001)


@pytest.fixture
def venue():
    return Venue()


@asynccontextmanager
async def supervised(venue, entries, *, tick=None):
    """A running supervisor; `entries` may be edited. Yields the last statuses by name."""
    statuses: dict = {}

    async def roster():
        if isinstance(entries, Exception):
            raise entries
        return list(entries)

    async def note(each):
        statuses.clear()
        statuses.update({status.name: status for status in each})

    async def nothing():
        pass

    stopping = asyncio.Event()
    feeds = Supervisor(roster, venue.connect, note, tick or nothing, venue.latest, venue.house.instruments)
    running = asyncio.create_task(feeds.run(stopping))
    await until(lambda: not isinstance(entries, list) or venue.connects.keys() >= {entry.name for entry in entries})
    try:
        yield statuses
    finally:
        stopping.set()
        async with asyncio.timeout(5):
            await running


async def test_ticks_of_a_feed_are_published(venue):
    async with supervised(venue, [A]) as statuses:
        await until(lambda: "a" in venue.says)
        await venue.says["a"].put([quote(), trade()])
        await until(lambda: statuses and statuses["a"].ticks == 2)
    assert venue.house.published("quote") == [quote()]
    assert statuses["a"].connected
    assert statuses["a"].last_event_us == trade().ts


async def test_refused_ticks_are_counted(venue):
    async with supervised(venue, [A]) as statuses:
        await until(lambda: "a" in venue.says)
        await venue.says["a"].put([quote(), trade(price="-1")])
        await until(lambda: statuses and statuses["a"].rejected == 1)


@pytest.mark.parametrize(
    "death", [FeedError("venue is down"), ConnectionResetError("venue is down"), KeyError("venue is down"), None]
)
async def test_a_feed_that_dies_is_connected_again_and_others_go_on(venue, death):
    async with supervised(venue, [A, B]) as statuses:
        await until(lambda: len(venue.says) == 2)
        await venue.says["a"].put(death)
        await venue.says["b"].put([quote()])
        await until(lambda: venue.connects["a"] == 2)
        await venue.says["a"].put([trade()])
        await until(lambda: statuses["a"].ticks == statuses["b"].ticks == 1)
        assert statuses["a"].failures == 1
        assert ("venue is down" if death else "ended") in statuses["a"].last_error
    assert venue.connects["b"] == 1


async def test_an_outage_of_a_feed_is_logged_once_at_its_begin_and_end(venue, caplog):
    caplog.set_level(logging.INFO)
    venue.unconnectable = FeedError("no such host")
    async with supervised(venue, [A]):
        await until(lambda: venue.connects["a"] > 3)
        venue.unconnectable = None
        await until(lambda: "a" in venue.says)
        await venue.says["a"].put([trade()])
        await until(lambda: len(caplog.records) == 2)
    down, back = [record.message for record in caplog.records]
    assert "no such host" in down
    assert "works again" in back


async def test_an_edited_feed_is_restarted_and_only_that(venue):
    entries = [A, B]
    async with supervised(venue, entries):
        entries[0] = replace(A, settings=FeedSettings(symbols=["X"]))
        await until(lambda: venue.connects["a"] == 2)
        assert venue.closed["a"] == 1
    assert venue.connects["b"] == 1


async def test_a_feed_switched_off_stops_and_one_switched_on_starts(venue):
    entries = [A]
    async with supervised(venue, entries) as statuses:
        await until(lambda: "a" in venue.says)
        entries[:] = [B]
        await until(lambda: statuses.keys() == {"b"})
        assert venue.closed["a"] == 1


async def test_stopping_closes_every_feed(venue):
    async with supervised(venue, [A, B]):
        await until(lambda: len(venue.says) == 2)
    assert venue.closed == {"a": 1, "b": 1}


async def test_a_feed_that_does_not_stop_holds_nobody_up(venue, monkeypatch, caplog):
    monkeypatch.setattr(supervisor, "STOP_S", 0.01)

    async def deaf():
        while True:
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                if released.is_set():
                    raise

    released = asyncio.Event()
    talk = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await supervisor._end([talk])
    assert "did not stop" in caplog.text
    released.set()
    talk.cancel()
    await asyncio.gather(talk, return_exceptions=True)


async def test_feeds_run_on_while_the_database_is_away(venue, caplog):
    entries = [A]
    calls = Counter()

    async def roster():
        calls["roster"] += 1
        if calls["roster"] > 1:
            raise OperationalError("database is locked")
        return entries

    async def note(_):
        pass

    stopping = asyncio.Event()
    running = asyncio.create_task(Supervisor(roster, venue.connect, note, asyncio.Event().wait, venue.latest).run(stopping))
    await until(lambda: calls["roster"] > 3)
    await venue.says["a"].put([trade()])
    await until(lambda: venue.house.published("trade"))
    stopping.set()
    await running
    assert [record.message for record in caplog.records] == ["reading which feeds run: database is locked"]


async def test_a_standby_takes_over_and_an_edit_of_it_makes_the_topic_forget_nothing(venue):
    entries = [A, replace(B, standby_for="a")]
    async with supervised(venue, entries) as statuses:
        await venue.says["a"].put([trade(1)])
        await until(lambda: venue.house.published("trade") == [trade(1)])
        await venue.says["b"].put([trade(1), trade(2)])
        await venue.says["a"].put(FeedError("venue is down"))
        await until(lambda: venue.house.published("trade") == [trade(1), trade(2)])
        entries[1] = replace(entries[1], settings=FeedSettings(options={"edited": 1}))
        await until(lambda: venue.connects["b"] == 2)
        await venue.says["b"].put([trade(2), trade(3)])
        await until(lambda: venue.house.published("trade") == [trade(1), trade(2), trade(3)])
        await until(lambda: statuses["b"].duplicates == 1)
        assert (statuses["b"].standby_for, statuses["b"].active_symbols) == ("a", 2)


async def test_a_feed_whose_task_died_is_begun_again(venue, monkeypatch):
    runs = Counter()
    sound = supervised_feed.SupervisedFeed.run

    async def dies_once(self):
        runs["n"] += 1
        if runs["n"] > 1:
            await sound(self)

    monkeypatch.setattr(supervised_feed.SupervisedFeed, "run", dies_once)
    async with supervised(venue, [A]):
        await venue.says["a"].put([trade(1)])
        await until(lambda: venue.house.published("trade"))


async def test_a_feed_with_a_flaw_stands_in_no_line(venue):
    async with supervised(venue, [A, replace(B, standby_for="a", flaw="standby_for: it may not")]):
        await venue.says["a"].put([trade(1)])
        await venue.says["b"].put([trade(2)])
        await until(lambda: len(venue.house.published("trade")) == 2)


async def test_a_primary_that_is_switched_off_leaves_the_field_to_its_standby(venue):
    entries = [A, replace(B, standby_for="a")]
    async with supervised(venue, entries) as statuses:
        del entries[0]
        await until(lambda: statuses.keys() == {"b"})
        await venue.says["b"].put([trade(1)])
        await until(lambda: venue.house.published("trade") == [trade(1)])


async def test_what_a_standby_said_before_its_primary_was_switched_off_is_not_lost(venue):
    entries = [A, replace(B, standby_for="a")]
    async with supervised(venue, entries) as statuses:
        await venue.says["b"].put([trade(1)])
        await until(lambda: "b" in statuses and statuses["b"].held == 1)
        assert venue.house.published("trade") == []
        del entries[0]
        await until(lambda: venue.house.published("trade") == [trade(1)])


async def test_bars_are_closed_by_the_clock_although_a_feed_is_silent(venue):
    ticks = Counter()

    async def tick():
        ticks["n"] += 1

    async with supervised(venue, [A], tick=tick):
        await until(lambda: ticks["n"] > 2)
