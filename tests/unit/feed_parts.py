"""Parts that the tests of supervised feeds are built from: a venue whose feeds say what they are told to, and a clock."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from marketdata.bars import BarWriter
from marketdata.feeds import FeedSettings, Listing
from marketdata.gate import Line
from marketdata.ingest import Ingest
from marketdata.publisher import AsyncPublisher
from marketdata.relief import Relief
from marketdata.roster import Entry
from marketdata.store import Stamped
from marketdata.supervised import SupervisedFeed
from tests.unit.ingest_parts import AsyncStore, House

HOLD_S = 30.0


class Venue:
    """Makes feeds that say what is put into them; `connects` counts by name."""

    def __init__(self) -> None:
        self.house = House()
        self.ingest = self.another_ingest()
        self.connects: Counter[str] = Counter()
        self.says: dict[str, asyncio.Queue[Any]] = {}
        self.closed: Counter[str] = Counter()
        self.patient = False
        self.unconnectable: Exception | None = None

    def another_ingest(self) -> Ingest:
        """As a new process has it."""
        publisher = AsyncPublisher(AsyncStore(self.house.store))
        return Ingest(publisher, self.house.instruments, clock=lambda: self.house.now, writer=BarWriter([].extend))

    async def connect(self, entry: Entry) -> tuple[Talk, Ingest]:
        self.connects[entry.name] += 1
        if self.unconnectable:
            raise self.unconnectable
        self.says[entry.name] = asyncio.Queue()
        return Talk(entry.name, self), self.ingest

    async def latest(self, topics: Sequence[str]) -> list[Stamped | None]:
        return self.house.store.latest(topics)


class Talk:
    """A feed that yields the batches of its queue, and raises the exceptions in it."""

    simulated = True

    def __init__(self, name: str, venue: Venue) -> None:
        self.name = name
        self.venue = venue
        self.patient = venue.patient

    def listings(self) -> list[Listing]:
        return [Listing(symbol, symbol, "crypto", "", "USD", 2, 2) for symbol in "XY"]

    async def stream(self) -> AsyncIterator[Any]:
        try:
            while (said := await self.venue.says[self.name].get()) is not None:
                if isinstance(said, BaseException):
                    raise said
                yield said
        finally:
            self.venue.closed[self.name] += 1


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


class Works:
    """Feeds at a venue, with a clock that is set."""

    def __init__(self) -> None:
        self.venue, self.now = Venue(), 1000.0
        self.venue.house.instruments.refresh()
        self.feeds: dict[str, SupervisedFeed] = {}

    @property
    def house(self) -> Any:
        return self.venue.house

    def feed(self, name: str, **changes: Any) -> SupervisedFeed:
        entry = Entry(name, "demo", FeedSettings(), **changes)
        known = self.house.instruments
        self.feeds[name] = SupervisedFeed(
            entry, self.venue.connect, known=known, clock=lambda: self.now, wall=lambda: self.house.now, sleep=self.sleep
        )
        return self.feeds[name]

    async def sleep(self, seconds: float) -> None:
        until = self.now + seconds
        await asyncio.sleep(0)
        while self.now < until:
            await asyncio.sleep(0.0001)

    def line_up(self, *names: str) -> Relief:
        lines = [Line(name, HOLD_S) for name in names]
        relief = Relief(lines, self.venue.latest, lambda: self.now, lambda: self.house.now, self.house.instruments)
        for name in names:
            self.feeds[name].stand_in(relief)
        return relief

    async def say(self, name: str, *batches: Any) -> None:
        await until(lambda: name in self.venue.says)
        for batch in batches:
            await self.venue.says[name].put(batch)
        await until(self.venue.says[name].empty)

    async def wait(self, seconds: float) -> None:
        """Let time pass, and look at the feeds each second of it."""
        for _ in range(round(seconds)):
            self.now += 1
            for feed in self.feeds.values():
                feed.watch()
            await asyncio.sleep(0)

    def trades(self) -> list[str]:
        return [tick.id for tick in self.house.published("trade")]

    async def published(self, *ids: str) -> None:
        await until(lambda: self.trades() == list(ids))


@asynccontextmanager
async def running(*feeds: SupervisedFeed) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(feed.run()) for feed in feeds]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
