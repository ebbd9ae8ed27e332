"""Ingest on a real Redis and a real database: what several processes do to one symbol, and what outlives them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from django.db import connections

from marketdata import bars
from marketdata.bars import BarWriter
from marketdata.errors import StoreUnavailable
from marketdata.ingest import Ingest
from marketdata.instruments import Instruments
from marketdata.layout import Layout
from marketdata.models import Instrument
from marketdata.publisher import AsyncPublisher, Publisher
from marketdata.store import AsyncStore, Store
from marketdata.ticks import Kline, from_body
from marketdata.topics import DataType, Interval
from tests.unit.ingest_parts import MINUTE, NOW, FixedInstruments, instrument, trade

Make = Callable[..., Ingest]


@pytest.fixture
def store(redis_url: str, prefix: str) -> Store:
    return Store(redis_url, Layout(prefix))


@pytest.fixture
def process(redis_url: str, prefix: str) -> Make:
    """Makes the ingest of a process of its own."""

    def make(derive: Sequence[str] = ("kline", "ticker")) -> Ingest:
        own = Store(redis_url, Layout(prefix))
        known = FixedInstruments(instrument("X"))
        return Ingest(
            Publisher(own), known, clock=lambda: NOW, writer=BarWriter(lambda _: None), derive=derive, most_ahead_us=None
        )

    return make


def newest(store: Store, interval: Interval = Interval.M1) -> Kline:
    (stamped,) = store.latest([f"kline.{interval.value}.X"])
    assert stamped is not None
    return cast(Kline, from_body(DataType.KLINE, stamped.body))


def test_the_open_bar_survives_a_restart_of_every_process(process: Make, store: Store) -> None:
    process().accept([trade(1, "10"), trade(2, "12")])
    process().accept([trade(2, "12"), trade(3, "11")])
    found = newest(store)
    assert (found.open, found.high, found.close, found.trades, found.closed) == ("10", "12", "11", 3, False)


def test_processes_that_publish_one_symbol_at_once_lose_and_double_nothing(process: Make, store: Store) -> None:
    def publish(part: int) -> int:
        ingest = process()
        for at in range(part, 160, 2):  # each trade from two processes
            ingest.accept([trade(at / 10), trade((at + 1) % 160 / 10)])
        return ingest.book.underived

    with ThreadPoolExecutor(4) as pool:
        underived = sum(pool.map(publish, [0, 1, 0, 1]))
    published = store.history("trade.X").updates
    assert len({update.body for update in published}) == 160
    if not underived:  # else the bars were given up for some trades, which is counted
        assert len(published) == 160
        assert newest(store).trades == 160


@pytest.mark.parametrize("derive", [("kline", "ticker"), ()])
def test_a_feed_that_sends_its_last_trades_again_after_a_restart_doubles_none(process: Make, store: Store, derive: Any) -> None:
    trades = [trade(at / 100) for at in range(1000)]
    assert process(derive).accept(trades).accepted == 1000
    done = process(derive).accept([*trades, trade(60)])
    assert (done.accepted, done.duplicates, done.rejected) == (1, 1000, [])
    assert len(store.history("trade.X", limit=2000).updates) == 1001


def test_processes_that_derive_nothing_double_nothing_either(process: Make, store: Store) -> None:
    def publish(part: int) -> None:
        ingest = process(())
        for at in range(160):
            ingest.accept([trade((at + 40 * part) % 160), trade(at)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(publish, range(4)))
    bodies = [update.body for update in store.history("trade.X", limit=2000).updates]
    assert len(bodies) == len(set(bodies)) == 160


def test_a_late_trade_revises_its_bar_once_whoever_brings_it(process: Make, store: Store) -> None:
    one, other = process(), process()
    one.accept([trade(1, "10"), trade(61, "11")])
    for ingest in (other, one, process()):
        ingest.accept([trade(2, "12")])
    first = [from_body(DataType.KLINE, update.body) for update in store.history("kline.1m.X").updates]
    revised = [bar for bar in first if isinstance(bar, Kline) and bar.open_time == NOW and bar.closed]
    assert [(bar.revision, bar.close, bar.trades) for bar in revised] == [(0, "10", 1), (1, "12", 2)]


def test_a_store_that_was_wiped_gets_the_bars_back(process: Make, store: Store) -> None:
    ingest = process()
    ingest.accept([trade(1), trade(2)])
    store.client.flushall()
    ingest.accept([trade(3)])
    assert newest(store).trades == 3
    process().accept([trade(4)])
    assert newest(store).trades == 4


def test_redis_away_is_named_and_the_batch_may_be_given_again(tmp_path: object) -> None:
    ingest = Ingest(Publisher(Store(f"unix://{tmp_path}/none.sock", Layout("t"))), FixedInstruments(instrument("X")))
    with pytest.raises(StoreUnavailable):
        ingest.accept([trade(1)])
    assert ingest.accepted == 0


@pytest.fixture
async def feed(redis_url: str, prefix: str) -> AsyncIterator[Ingest]:
    """The ingest of a feed process, on the real table of instruments and bars."""
    store = AsyncStore(redis_url, Layout(prefix))
    ingest = Ingest(AsyncPublisher(store), Instruments(), clock=lambda: NOW + MINUTE + 2_000_000, writer=BarWriter(pause_s=0.01))
    await ingest.start()
    yield ingest
    await ingest.stop()
    await store.close()


@pytest.fixture
def _listed(transactional_db: None) -> None:
    Instrument.objects.create(symbol="X", kind="crypto")


@pytest.mark.usefixtures("_listed")
async def test_what_a_feed_closed_is_in_the_database_soon_after(feed: Ingest, store: Store) -> None:
    done = await feed.aaccept([trade(1), trade(61), trade(symbol="NONE")])
    assert (done.accepted, [each.code for each in done.rejected]) == (2, [120])
    await feed.aadvance(NOW + 3 * MINUTE)
    for _ in range(500):
        if feed.writer.saved == 2:
            break
        await asyncio.sleep(0.01)
    found = await asyncio.to_thread(_saved)
    assert [(kline.open_time, kline.trades) for kline in found] == [(NOW, 1), (NOW + MINUTE, 1)]
    assert found[-1] == newest(store)


def _saved() -> list[Kline]:
    try:
        return bars.load("X", Interval.M1, 0, 1 << 62, 10)
    finally:
        connections.close_all()
