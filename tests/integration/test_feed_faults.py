"""Feeds that die, fall silent, send rubbish or flood, on real Redis: a standby takes over, and the topics tell one story.

Two lines carry the same venue: trade n and quote n of moment n. What is in the streams of the store at the end is looked at: each
trade once, in order, none missing; no quote older than the one before it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from marketdata import pulse, supervised, supervisor
from marketdata.bars import BarWriter
from marketdata.errors import FeedError
from marketdata.feed_status import FeedStatus, anote_statuses, feed_statuses
from marketdata.feeds import FeedSettings, Listing
from marketdata.ingest import Ingest
from marketdata.layout import Layout
from marketdata.publisher import AsyncPublisher
from marketdata.roster import Entry
from marketdata.store import AsyncStore, Store
from marketdata.supervisor import Supervisor
from marketdata.ticks import Quote, Tick, Trade
from tests.unit.ingest_parts import FixedInstruments, instrument

STEP_US = 5_000
REPLAYED = 20  # trades that a line sends again when it is connected
HOLD_S = 0.4
KNOWN = FixedInstruments(instrument("X"))
MAIN = Entry("main", "demo", FeedSettings(), hold_s=HOLD_S, most_per_s=1000)
SECOND = Entry("second", "demo", FeedSettings(), standby_for="main")


class Venue:
    """What happens at the exchange: one trade and one quote every 5 ms."""

    def __init__(self) -> None:
        self.began_us = time.time_ns() // 1000

    @property
    def newest(self) -> int:
        return (time.time_ns() // 1000 - self.began_us) // STEP_US

    def trade(self, n: int) -> Trade:
        return Trade("X", self.began_us + n * STEP_US, str(n), f"10.{n % 100:02d}", "1")

    def quote(self, n: int) -> Quote:
        return Quote("X", self.began_us + n * STEP_US, f"9.{n % 100:02d}", "1", "11", "1")


class Wire:
    """One line to the venue, which can be spoilt. `behind`: how many trades it lags."""

    def __init__(self, venue: Venue, behind: int) -> None:
        self.venue, self.behind, self.fault, self.connects = venue, behind, "", 0

    def listings(self) -> list[Listing]:
        return [Listing("X", "X", "crypto", "", "USD", 2, 2)]

    async def stream(self) -> AsyncIterator[Any]:
        self.connects += 1
        said = max(0, self.venue.newest - self.behind - REPLAYED)
        while True:
            await asyncio.sleep(0.005)
            until = max(said, self.venue.newest - self.behind)
            ticks: list[Tick] = [tick for n in range(said, until) for tick in (self.venue.trade(n), self.venue.quote(n))]
            if self.fault == "dead":
                raise FeedError("connection lost")
            if self.fault == "garbage":
                yield [None, {"trade": 7}, Trade("X", 1, "t", "-1", "1"), *[Trade("X", 1 << 50, "u", "1", "1")] * 30]
            elif self.fault != "mute":
                yield [*ticks, *[self.venue.quote(until)] * (100 if self.fault == "flood" else 0)]
            said = until


class Plant:
    """A feed process: a supervisor on a real store, with the two lines in its roster."""

    def __init__(self, store: AsyncStore, venue: Venue) -> None:
        self.store = store
        self.wires = {"main": Wire(venue, 0), "second": Wire(venue, 3)}
        self.statuses: dict[str, FeedStatus] = {}
        self.ingest = Ingest(AsyncPublisher(store), KNOWN, writer=BarWriter([].extend))

    async def connect(self, entry: Entry) -> Any:
        if self.wires[entry.name].fault == "dead":
            raise FeedError("connection refused")
        return self.wires[entry.name], self.ingest

    async def roster(self) -> list[Entry]:
        return [MAIN, SECOND]

    async def note(self, statuses: Any) -> None:
        await anote_statuses(self.store, statuses)
        self.statuses = {status.name: status for status in statuses}

    async def tick(self) -> None:
        await asyncio.sleep(0)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        stopping = asyncio.Event()
        run = Supervisor(self.roster, self.connect, self.note, self.tick, self.store.latest, KNOWN).run(stopping)
        running = asyncio.create_task(run)
        try:
            await self.until("main")
            await self.until("second", writes=0)
            yield
        finally:
            stopping.set()
            await running
            await self.ingest.stop()

    async def until(self, name: str, *, writes: int = 1) -> None:
        """Until a feed is connected, has said something, and writes or does not."""
        async with asyncio.timeout(10):
            while not ((one := self.statuses.get(name)) and one.ticks + one.held and one.active_symbols == writes):
                await asyncio.sleep(0.01)

    async def until_faulty(self, name: str, fault: str) -> None:
        """Until that is wrong with a feed."""
        async with asyncio.timeout(10):
            while self.statuses[name].healthy or self.statuses[name].fault != fault:
                await asyncio.sleep(0.01)

    async def topic(self, kind: str) -> list[dict[str, Any]]:
        history = await self.store.history(f"{kind}.X", limit=100_000)
        return [json.loads(update.body) for update in history.updates]

    async def check(self) -> None:
        """The topics tell one story."""
        ids = [int(trade["id"]) for trade in await self.topic("trade")]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        times = [quote["ts"] for quote in await self.topic("quote")]
        assert times == sorted(times)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundredth of a day's patience."""
    for module, name, value in [
        (pulse, "_LONGEST_STEP_S", 0.05), (pulse, "FIRST_S", 1.0), (pulse, "LEAST_S", 0.3), (pulse, "SAMPLE_S", 0.02),
        (supervised, "FIRST_PAUSE_S", 0.01), (supervisor, "TICK_S", 0.02), (supervisor, "ROSTER_S", 0.1),
    ]:  # fmt: skip
        monkeypatch.setattr(module, name, value)


@pytest.fixture
async def store(redis_url: str, prefix: str) -> AsyncIterator[AsyncStore]:
    store = AsyncStore(redis_url, Layout(prefix, history=100_000))
    yield store
    await store.close()


@pytest.fixture
def plant(store: AsyncStore) -> Plant:
    return Plant(store, Venue())


@pytest.mark.parametrize("fault", ["dead", "mute", "garbage"])
async def test_a_standby_takes_over_and_the_primary_takes_back(plant: Plant, fault: str) -> None:
    async with plant.running():
        plant.wires["main"].fault = fault
        await plant.until("second")
        await plant.until_faulty("main", {"dead": "disconnected"}.get(fault, fault))
        assert plant.statuses["second"].healthy
        plant.wires["main"].fault = ""
        await plant.until("main")
    await plant.check()
    assert plant.statuses["second"].held > 0
    assert plant.statuses["second"].ticks > 0
    assert plant.statuses["second"].failures == 0


async def test_a_flood_is_bounded_and_costs_no_trade(plant: Plant) -> None:
    async with plant.running():
        plant.wires["main"].fault = "flood"
        async with asyncio.timeout(10):
            while not plant.statuses["main"].flooded or plant.statuses["main"].conflated < 5000:
                await asyncio.sleep(0.01)
        plant.wires["main"].fault = ""
        assert plant.statuses["main"].healthy
    await plant.check()
    assert plant.statuses["main"].shed == 0


async def test_when_both_fail_in_turn_the_topic_still_tells_one_story(plant: Plant) -> None:
    async with plant.running():
        for _ in range(3):
            plant.wires["main"].fault = "dead"
            await plant.until("second")
            plant.wires["second"].fault, plant.wires["main"].fault = "dead", ""
            await plant.until("main")
            plant.wires["second"].fault = ""
            await asyncio.sleep(0.1)
            await plant.until("second", writes=0)
    ids = [trade["id"] for trade in await plant.topic("trade")]
    assert len(set(ids)) == len(ids)
    for kind in ("trade", "quote"):
        times = [tick["ts"] for tick in await plant.topic(kind)]
        assert times == sorted(times)


async def test_a_new_process_goes_on_where_the_topics_stand(plant: Plant, store: AsyncStore) -> None:
    async with plant.running():
        pass
    again = Plant(store, plant.wires["main"].venue)
    again.wires["main"].behind = 10  # which has not heard yet what the last process published
    async with again.running():
        await asyncio.sleep(0.2)
    await again.check()
    status = again.statuses["main"]
    assert status.duplicates + status.backwards > 0


async def test_anyone_can_read_how_the_feeds_are(plant: Plant, redis_url: str) -> None:
    async with plant.running():
        plant.wires["main"].fault = "dead"
        await plant.until("second")
        reader = Store(redis_url, plant.store.layout)
        main, second = feed_statuses(reader)
        reader.close()
    assert (main.name, main.fault, main.active_symbols) == ("main", "disconnected", 0)
    assert (second.standby_for, second.healthy, second.active_symbols) == ("main", True, 1)
