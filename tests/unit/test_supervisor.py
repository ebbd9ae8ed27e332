"""The supervisor: a dead feed is connected again and disturbs nobody; an edited one is restarted, and only that."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from django.db import OperationalError

from marketdata import supervisor
from marketdata.bars import BarWriter
from marketdata.errors import FeedError
from marketdata.feeds import FeedSettings
from marketdata.ingest import Ingest
from marketdata.publisher import AsyncPublisher
from marketdata.roster import Entry
from marketdata.supervisor import Backoff, SupervisedFeed, Supervisor
from tests.unit.ingest_parts import AsyncStore, House, quote, trade

A, B = (Entry(name, "demo", FeedSettings()) for name in "ab")


class Venue:
    """Makes feeds that say what is put into them; `connects` counts by name."""

    def __init__(self) -> None:
        self.house = House()
        publisher = AsyncPublisher(AsyncStore(self.house.store))
        self.ingest = Ingest(publisher, self.house.instruments, clock=lambda: self.house.now, writer=BarWriter([].extend))
        self.connects = Counter()
        self.says: dict[str, asyncio.Queue] = {}
        self.closed = Counter()
        self.unconnectable: Exception | None = None

    async def connect(self, entry: Entry):
        self.connects[entry.name] += 1
        if self.unconnectable:
            raise self.unconnectable
        self.says[entry.name] = asyncio.Queue()
        return Talk(entry.name, self), self.ingest


class Talk:
    """A feed that yields the batches of its queue, and raises the exceptions in it."""

    simulated = True

    def __init__(self, name: str, venue: Venue) -> None:
        self.name = name
        self.venue = venue

    async def stream(self):
        try:
            while (said := await self.venue.says[self.name].get()) is not None:
                if isinstance(said, Exception):
                    raise said
                yield said
        finally:
            self.venue.closed[self.name] += 1


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.001)
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
    running = asyncio.create_task(Supervisor(roster, venue.connect, note, tick or nothing).run(stopping))
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


async def test_while_redis_is_away_ticks_are_lost_and_counted_and_the_feed_stays(venue, caplog):
    async with supervised(venue, [A]) as statuses:
        await until(lambda: "a" in venue.says)
        venue.house.store.away = True
        await venue.says["a"].put([quote(), trade(1)])
        await venue.says["a"].put([trade(2)])
        await until(lambda: statuses["a"].lost == 3)
        venue.house.store.away = False
        await venue.says["a"].put([trade(3)])
        await until(lambda: statuses["a"].ticks == 1)
    assert venue.connects["a"] == 1
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


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
    running = asyncio.create_task(Supervisor(roster, venue.connect, note, asyncio.Event().wait).run(stopping))
    await until(lambda: calls["roster"] > 3)
    await venue.says["a"].put([trade()])
    await until(lambda: venue.house.published("trade"))
    stopping.set()
    await running
    assert [record.message for record in caplog.records] == ["reading which feeds run: database is locked"]


async def test_bars_are_closed_by_the_clock_although_a_feed_is_silent(venue):
    ticks = Counter()

    async def tick():
        ticks["n"] += 1

    async with supervised(venue, [A], tick=tick):
        await until(lambda: ticks["n"] > 2)


def test_pauses_are_jittered_under_a_doubling_bound_that_has_a_limit(monkeypatch):
    bounds = []
    monkeypatch.setattr(supervisor.random, "uniform", lambda low, high: bounds.append((low, high)) or 0.0)
    backoff = Backoff(first_s=1.0, longest_s=5.0)
    for _ in range(5):
        backoff.pause_s()
    backoff.reset()
    backoff.pause_s()
    assert bounds == [(0, 1), (0, 2), (0, 4), (0, 5), (0, 5), (0, 1)]


async def test_a_feed_that_was_healthy_is_connected_again_at_once(venue, monkeypatch):
    monkeypatch.setattr(supervisor, "HEALTHY_S", 0.0)
    resets = Counter()
    monkeypatch.setattr(Backoff, "reset", lambda self: resets.update(n=1))
    venue.unconnectable = FeedError("down")
    running = asyncio.create_task(SupervisedFeed(A, venue.connect).run())
    await until(lambda: resets["n"] > 1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
