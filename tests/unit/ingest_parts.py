"""Parts that the tests of ingest are built from: a store in memory, a fixed list of instruments, a clock that is set."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from marketdata.bars import BarWriter
from marketdata.batch import Mark, State, Update
from marketdata.errors import StoreUnavailable
from marketdata.ingest import Ingest
from marketdata.instruments import Instrument, Instruments
from marketdata.memory_store import MemoryStore
from marketdata.publisher import Publisher
from marketdata.ticks import Depth, Kline, Quote, Tick, Ticker, Trade, from_body
from marketdata.topics import Interval, parse

NOW = 1_700_006_400_000_000  # 2023-11-15 00:00 UTC
MINUTE = 60_000_000


def instrument(symbol: str, *, session: str = "always", active: bool = True) -> Instrument:
    return Instrument(symbol, "", "crypto", "", "USD", 2, 2, session, False, active, datetime(2024, 1, 1, tzinfo=UTC))


class FixedInstruments(Instruments):
    """Instruments without a table."""

    def __init__(self, *rows: Instrument) -> None:
        super().__init__()
        self.rows, self.reads = list(rows), 0

    def refresh(self) -> None:
        self._take({row.symbol: row for row in self.rows})
        self.reads += 1

    async def arefresh(self) -> None:
        self.refresh()


class Store(MemoryStore):
    """A store that can be away, and that somebody else can write to just before us."""

    away = False
    rival: Sequence[State] = ()
    rivalry = 0  # publishes before which the rival comes first

    def publish(self, updates: Sequence[Update], states: Sequence[State] = (), mark: Mark | None = None) -> list[int]:
        if self.away:
            raise StoreUnavailable("Redis: gone")
        if self.rivalry and states:
            self.rivalry -= 1
            for known in self.load([state.key for state in states]):
                value = next((state.value for state in self.rival if state.key == known.key), known.value)
                super().publish([], [State(known.key, known.version, value)])
        return super().publish(updates, states, mark)

    def load(self, keys: Sequence[str]) -> list[State]:
        if self.away:
            raise StoreUnavailable("Redis: gone")
        return super().load(keys)


class AsyncStore:
    """The same for asynchronous code; each answer takes a turn of the loop."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def publish(self, updates: Sequence[Update], states: Sequence[State] = (), mark: Mark | None = None) -> list[int]:
        await asyncio.sleep(0)
        return self.store.publish(updates, states, mark)

    async def known(self, ids: Sequence[tuple[str, str]]) -> list[bool]:
        await asyncio.sleep(0)
        return self.store.known(ids)

    async def load(self, keys: Sequence[str]) -> list[State]:
        await asyncio.sleep(0)
        return self.store.load(keys)


class House:
    """An ingest and what is around it. `restart` makes a new process on the same store."""

    def __init__(self, **options: object) -> None:
        self.store = Store()
        self.instruments = FixedInstruments(
            instrument("X"), instrument("Y"), instrument("US", session="us"), instrument("OLD", active=False)
        )
        self.saved: list[Kline] = []
        self.now = NOW
        self.options = options
        self.restart()

    def restart(self) -> None:
        self.ingest = self.another()

    def another(self) -> Ingest:
        return Ingest(
            Publisher(self.store), self.instruments, clock=lambda: self.now, writer=BarWriter(self.saved.extend), **self.options
        )  # type: ignore[arg-type]

    def published(self, kind: str | None = None) -> list[Tick]:
        """What is on the bus, in order; of one kind of topic if named."""
        found = []
        for topic, stamped in ((topic, self.store.history(topic).updates) for topic in self._topics()):
            found += [from_body(parse(topic).type, update.body) for update in stamped]
        return [tick for tick in found if kind is None or type(tick).__name__.lower() == kind]

    def _topics(self) -> list[str]:
        return list(dict.fromkeys(topic for topic, _ in self.store.messages))

    def minute(self, symbol: str = "X") -> list[Kline]:
        """The 1m klines that were published, in order."""
        return [
            tick for tick in self.published("kline") if isinstance(tick, Kline) and (tick.symbol, tick.interval) == (symbol, "1m")
        ]


def trade(at: float = 0, price: str = "10", size: str = "1", symbol: str = "X", id: str | None = None) -> Trade:
    """A trade `at` seconds after NOW."""
    return Trade(symbol, NOW + round(at * 1e6), id or f"t{at}", price, size)


def quote(at: float = 0, bid: str = "9", ask: str = "11", symbol: str = "X", **changes: object) -> Quote:
    return msgspec.structs.replace(Quote(symbol, NOW + round(at * 1e6), bid, "1", ask, "1"), **changes)


def depth(bids: object = (("9", "1"), ("8", "2")), asks: object = (("11", "1"), ("12", "2"))) -> Depth:
    return Depth("X", NOW, bids, asks)  # type: ignore[arg-type]


def day_ticker(**changes: object) -> Ticker:
    return msgspec.structs.replace(Ticker("X", NOW, "10", "9", "11", "8", None, None, None, "5", "50"), **changes)


def bar(**changes: object) -> Kline:
    made = Kline("X", NOW + 1, Interval.M1, NOW, NOW + MINUTE, "10", "12", "8", "11", "5", "50", 3, True)
    return msgspec.structs.replace(made, **changes)
