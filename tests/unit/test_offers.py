"""Offered ticks: published at once, or waiting in order while the store is away; each of them once, and none lost uncounted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from marketdata import ingest as ingest_module
from marketdata import offers
from marketdata.backlog import Backlog
from marketdata.bars import BarWriter
from marketdata.errors import StoreRefused, StoreUnavailable
from marketdata.ingest import Ingest
from marketdata.publisher import AsyncPublisher
from marketdata.ticks import Quote
from tests.unit.ingest_parts import MINUTE, NOW, AsyncStore, House, quote, trade


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offers, "FIRST_S", 0.001)
    monkeypatch.setattr(offers, "LONGEST_S", 0.002)
    monkeypatch.setattr(offers, "STOP_S", 0.05)


@pytest.fixture
def house() -> House:
    return House()


def make(house: House, *, most: int = 1000, derive: Sequence[str] = ("kline", "ticker")) -> Ingest:
    publisher = AsyncPublisher(AsyncStore(house.store))  # type: ignore[arg-type]
    return Ingest(
        publisher,
        house.instruments,
        clock=lambda: house.now,
        writer=BarWriter(house.saved.extend, pause_s=0.01),
        backlog=Backlog(most),
        derive=derive,
    )


@pytest.fixture
async def ingest(house: House) -> AsyncIterator[Ingest]:
    made = make(house)
    yield made
    await made.stop()


async def cleared(ingest: Ingest) -> None:
    async with asyncio.timeout(5):
        await ingest.offers._clear.wait()


def quotes(house: House, symbol: str = "X") -> list[float]:
    """Seconds after NOW of the quotes that were published."""
    return [(tick.ts - NOW) / 1e6 for tick in house.published("quote") if isinstance(tick, Quote) and tick.symbol == symbol]


async def test_while_the_store_is_there_an_offer_is_taken_at_once(house: House, ingest: Ingest) -> None:
    done = await ingest.aoffer([quote(1), trade(1), trade(1), trade(2, price="0")])
    assert (done.accepted, [each.index for each in done.rejected], done.duplicates, done.waiting) == (2, [3], 1, 0)


async def test_an_offer_larger_than_a_step_keeps_its_indices(
    house: House, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest.offers, "_most", 10)
    batch = [trade(n / 100) for n in range(95)]
    batch[37] = batch[94] = trade(price="0")
    done = await ingest.aoffer(batch)
    assert (done.accepted, [each.index for each in done.rejected], done.waiting) == (93, [37, 94], 0)


async def test_while_the_store_is_away_ticks_wait_and_no_error_is_raised(house: House, ingest: Ingest) -> None:
    house.store.away = True
    assert await ingest.aoffer([quote(1), trade(1)]) == (0, [], 0, 2)
    assert await ingest.aoffer([quote(2)]) == (0, [], 0, 1)
    assert (ingest.offers.waiting, house.published()) == (3, [])


async def test_when_it_is_back_they_are_published_in_order(house: House, ingest: Ingest) -> None:
    house.store.away = True
    for at in range(5):
        await ingest.aoffer([quote(at), trade(at)])
    house.store.away = False
    await ingest.aoffer([quote(5)])  # behind the others
    await cleared(ingest)
    assert quotes(house) == [0, 1, 2, 3, 4, 5]
    assert (len(house.published("trade")), house.minute()[-1].trades, ingest.accepted) == (5, 5, 11)
    assert (await ingest.aoffer([quote(6)])).waiting == 0


async def test_who_can_be_slowed_is_held_up_until_its_ticks_are_through(house: House, ingest: Ingest) -> None:
    house.store.away = True
    assert (await ingest.aoffer([quote(1)], wait=0.02)).waiting == 1
    asyncio.get_running_loop().call_later(0.02, setattr, house.store, "away", False)
    assert (await ingest.aoffer([quote(2)], wait=5)).waiting == 0
    assert quotes(house) == [1, 2]


async def test_what_does_not_fit_is_left_out_and_counted(house: House) -> None:
    ingest = make(house, most=10)
    house.store.away = True
    await ingest.aoffer([trade(0)])  # in doubt: not in the backlog
    await ingest.aoffer([tick for at in range(1, 21) for tick in (quote(at), trade(at))])
    house.store.away = False
    await cleared(ingest)
    backlog = ingest.offers.backlog
    assert (backlog.conflated, backlog.dropped) == ({"quote": 9}, {"quote": 11, "trade": 10})
    assert ingest.accepted == 41 - 30
    await ingest.stop()


async def test_ticks_that_are_refused_later_are_counted_then(house: House, ingest: Ingest) -> None:
    house.store.away = True
    await ingest.aoffer([trade(1, price="0"), trade(2), trade(2)])
    house.store.away = False
    await cleared(ingest)
    assert (ingest.accepted, ingest.duplicates, ingest.rejected_by_reason) == (1, 1, {"bad_price": 1})


@pytest.mark.parametrize("derive", [("kline", "ticker"), ()])
async def test_a_batch_of_which_only_the_answer_was_lost_is_published_once(
    house: House, monkeypatch: pytest.MonkeyPatch, derive: Any
) -> None:
    ingest, publish, deaf = make(house, derive=derive), type(house.store).publish, [3]

    def unheard(*call: Any) -> Any:
        done = publish(house.store, *call)
        if deaf[0]:
            deaf[0] -= 1
            raise StoreUnavailable("Redis: timeout")
        return done

    monkeypatch.setattr(house.store, "publish", unheard)
    await ingest.aoffer([trade(1), quote(1)])
    await ingest.aoffer([trade(2), quote(2)])
    await cleared(ingest)
    assert (len(house.published("trade")), quotes(house)) == (2, [1, 2])
    assert len([tick for tick in house.minute() if tick.trades == 1]) == (1 if derive else 0)
    await ingest.stop()


async def test_a_cancelled_offer_goes_on_without_its_feed(house: House, ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(AsyncStore, "publish", lambda *_: asyncio.sleep(60))
        task = asyncio.create_task(ingest.aoffer([trade(1), quote(1)]))
        while not ingest._alock.locked():
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (await ingest.aoffer([quote(2)])).waiting == 1
    await cleared(ingest)
    assert (len(house.published("trade")), quotes(house)) == (1, [1, 2])


async def test_an_unforeseen_failure_costs_its_batch_and_no_other(
    house: House, ingest: Ingest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    house.store.away = True
    await ingest.aoffer([quote(1), trade(1)])
    await ingest.aoffer([quote(2)])
    publish, poisoned = type(house.store).publish, [1]

    def poison(*call: Any) -> Any:
        if poisoned and not house.store.away:
            poisoned.pop()
            raise ZeroDivisionError
        return publish(house.store, *call)

    monkeypatch.setattr(house.store, "publish", poison)
    house.store.away = False
    await cleared(ingest)
    assert (quotes(house), ingest.offers.failed) == ([2], {"quote": 1, "trade": 1})
    assert "publishing 2 ticks failed" in caplog.text


async def test_an_unforeseen_failure_of_a_direct_offer_is_the_callers(
    house: House, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(AsyncStore, "publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await ingest.aoffer([quote(1)])
    assert (await ingest.aoffer([quote(2)])).accepted == 1


async def test_an_outage_is_logged_once_with_its_reason(
    house: House, ingest: Ingest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", offers.__name__)

    async def refuse(*_: Any) -> None:
        raise StoreRefused("Redis takes nothing: it has no memory left")

    with monkeypatch.context() as patch:
        patch.setattr(AsyncStore, "publish", refuse)
        for at in range(5):
            await ingest.aoffer([quote(at)])
        while ingest.offers.backoff.outage.failures < 5:
            await asyncio.sleep(0)
    await cleared(ingest)
    first, last = [record.getMessage() for record in caplog.records]
    assert first == "publishing: Redis takes nothing: it has no memory left"
    assert "works again" in last


async def test_no_bar_is_closed_by_the_clock_while_trades_of_it_may_wait(house: House, ingest: Ingest) -> None:
    await ingest.aoffer([trade(1)])
    house.store.away = True
    await ingest.aoffer([trade(2)])
    await ingest.aadvance(NOW + 2 * MINUTE)
    house.store.away = False
    await cleared(ingest)
    await ingest.aadvance(NOW + 2 * MINUTE)
    closed = [kline for kline in house.minute() if kline.closed]
    assert [(kline.trades, kline.revision) for kline in closed] == [(2, 0)]


async def test_what_waits_at_the_end_is_published_if_the_store_is_there(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    ingest = make(house)
    monkeypatch.setattr(offers.Backoff, "pause", lambda _: asyncio.sleep(60))
    house.store.away = True
    await ingest.aoffer([quote(1)])
    house.store.away = False
    await ingest.stop()
    assert quotes(house) == [1]


async def test_what_cannot_be_published_at_the_end_is_counted(house: House, caplog: pytest.LogCaptureFixture) -> None:
    ingest = make(house)
    house.store.away = True
    await ingest.aoffer([quote(1), trade(1)])
    await ingest.aoffer([quote(2)])
    await ingest.stop()
    assert (ingest.offers.failed, ingest.offers.waiting) == ({"quote": 2, "trade": 1}, 0)
    assert "stopped with 3 ticks unpublished" in caplog.text


async def test_feeds_that_offer_at_once_lose_and_double_nothing(house: House, ingest: Ingest) -> None:
    async def feed(part: int) -> None:
        for at in range(part, 120, 4):
            await ingest.aoffer([trade(at / 4), trade(at / 4, symbol="Y")])
            house.store.away = at % 7 == 0

    await asyncio.gather(*(feed(part) for part in range(4)))
    house.store.away = False
    await ingest.aoffer([quote(1)])
    await cleared(ingest)
    assert sorted(tick.id for tick in house.published("trade")) == sorted(f"t{at / 4}" for at in range(120) for _ in "XY")


def test_the_bounds_are_those_of_the_settings(house: House, settings: Any) -> None:
    import dataclasses

    sources = dataclasses.replace(settings.TICKWIRE.sources, backlog_updates=7, backlog_bytes=9000)
    settings.TICKWIRE = dataclasses.replace(settings.TICKWIRE, sources=sources)
    made = ingest_module._backlog()
    assert (made._most_updates, made._most_bytes) == (7, 9000)
