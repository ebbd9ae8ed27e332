"""Ingest over the store in memory: refusals, order, duplicates, derivation, conflicts, outages, closing by the clock."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
import pytest
from django.db import OperationalError

from marketdata import barbook
from marketdata.bars import BarWriter
from marketdata.errors import StoreUnavailable
from marketdata.ingest import REASONS, Ingest
from marketdata.klines import Bars
from marketdata.publisher import AsyncPublisher
from marketdata.store import State
from marketdata.ticks import Kline, Ticker, Trade
from marketdata.topics import Interval
from tests.unit.ingest_parts import MINUTE, NOW, AsyncStore, House, bar, day_ticker, depth, instrument, quote, trade


@pytest.fixture
def house() -> House:
    return House()


def reasons(house: House, *ticks: Any) -> list[str]:
    return [each.reason for each in house.ingest.accept(ticks).rejected]


# -- refusals


def test_one_bad_tick_does_not_affect_the_others(house: House) -> None:
    done = house.ingest.accept([quote(), trade(price="-1"), None, trade(1)])  # type: ignore[list-item]
    assert (done.accepted, done.duplicates) == (2, 0)
    assert [(each.index, each.code, each.reason) for each in done.rejected] == [(1, 107, "bad_price"), (2, 107, "malformed")]
    assert done.rejected[0].message == REASONS["bad_price"].message
    assert len(house.published("quote")) == len(house.published("trade")) == 1


def test_refusals_are_counted_by_reason_and_logged_once_each(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.ingest.accept([quote(bid="12"), quote(bid="13"), trade(price="0")])
    assert house.ingest.rejected_by_reason == {"crossed": 2, "bad_price": 1}
    assert len([record for record in caplog.records if "bid is above" in record.message]) == 1


def test_an_unlisted_and_an_inactive_symbol_are_refused_with_120(house: House) -> None:
    done = house.ingest.accept([trade(symbol="NONE"), trade(symbol="OLD")])
    assert [(each.code, each.reason) for each in done.rejected] == [(120, "unknown_instrument"), (120, "inactive_instrument")]


@pytest.mark.parametrize("make", [quote, lambda at: msgspec.structs.replace(depth(), ts=NOW + at * 1_000_000)])
def test_an_older_state_is_out_of_order(house: House, make: Any) -> None:
    assert reasons(house, make(5), make(4)) == ["out_of_order"]
    assert reasons(house, make(5)) == []
    assert reasons(house, make(3)) == ["out_of_order"]


def test_order_is_watched_per_symbol_and_type(house: House) -> None:
    assert reasons(house, quote(5), quote(4, symbol="Y"), depth(), day_ticker()) == []


def test_trades_may_be_late(house: House) -> None:
    assert reasons(house, trade(5), trade(4)) == []


def test_open_klines_keep_order_and_closed_ones_may_come_any_time(house: House) -> None:
    assert reasons(house, bar(ts=NOW + 5, closed=False), bar(ts=NOW + 4)) == []
    assert reasons(house, bar(ts=NOW + 3, closed=False)) == ["out_of_order"]
    assert reasons(house, bar(ts=NOW + 3, closed=False, interval=Interval.M5)) == []


def test_an_event_from_the_future_is_refused(house: House) -> None:
    assert reasons(house, trade(59), trade(61)) == ["future"]
    assert reasons(House(most_ahead_us=None), trade(3600)) == []


def test_a_batch_that_was_not_published_does_not_count_as_the_latest(house: House) -> None:
    house.store.away = True
    with pytest.raises(StoreUnavailable):
        house.ingest.accept([quote(1), quote(2)])
    house.store.away = False
    assert reasons(house, quote(1), quote(2)) == []


def test_an_edited_instrument_acts_after_two_seconds(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reasons(house, quote(symbol="NEW")) == ["unknown_instrument"]
    house.instruments.rows.append(instrument("NEW"))
    assert reasons(house, quote(symbol="NEW")) == ["unknown_instrument"]
    monkeypatch.setattr("marketdata.ingest.INSTRUMENTS_AGE_S", -1)
    assert reasons(house, quote(symbol="NEW")) == []


# -- derivation


def test_a_trade_brings_klines_and_a_ticker(house: House) -> None:
    house.ingest.accept([trade(1, "10", "2")])
    assert [tick.interval for tick in house.published("kline") if isinstance(tick, Kline)] == list(Interval)
    (told,) = house.published("ticker")
    assert isinstance(told, Ticker)
    assert (told.last, told.volume, told.prev_close) == ("10", "2", None)


@pytest.mark.parametrize(
    ("derive", "kinds"), [(["kline"], {"Trade", "Kline"}), (["ticker"], {"Trade", "Ticker"}), ([], {"Trade"})]
)
def test_only_what_is_asked_for_is_derived(derive: list[str], kinds: set[str]) -> None:
    house = House(derive=derive)
    house.ingest.accept([trade(1)])
    assert {type(tick).__name__ for tick in house.published()} == kinds


def test_klines_that_a_feed_brings_are_not_derived(house: House) -> None:
    house.ingest.accept([bar(ts=NOW, closed=False), trade(1)])
    house.ingest.accept([trade(2)])
    assert [kline.trades for kline in house.minute()] == [3]
    assert {tick.interval for tick in house.published("kline") if isinstance(tick, Kline)} == set(Interval)


def test_a_repeated_trade_is_published_once(house: House) -> None:
    done = house.ingest.accept([trade(1), trade(1), trade(2)])
    assert (done.accepted, done.duplicates, done.rejected) == (2, 1, [])
    assert house.ingest.accept([trade(1)]).duplicates == 1
    assert house.ingest.duplicates == 2
    assert len(house.published("trade")) == 2


def test_a_trade_too_late_for_its_bars_is_refused_by_its_index(house: House) -> None:
    house.ingest.accept([trade(0)])
    done = house.ingest.accept([quote(), trade(-3600), trade(1)])
    assert [(each.index, each.code, each.reason) for each in done.rejected] == [(1, 107, "too_late")]
    assert house.ingest.rejected_by_reason["too_late"] == 1
    assert len(house.published("trade")) == 2


def test_a_batch_larger_than_a_step_keeps_its_indices(house: House) -> None:
    batch = [trade(n / 100) for n in range(2100)]
    batch[2050] = trade(price="0")
    done = house.ingest.accept(batch)
    assert (done.accepted, [each.index for each in done.rejected]) == (2099, [2050])


def test_many_gap_bars_are_spread_over_several_publishes(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(barbook, "MOST_UPDATES", 50)
    house.ingest.accept([trade(-7200)])
    house.ingest.accept([trade(0)])
    assert len([kline for kline in house.minute() if not kline.trades]) == 119


def test_what_did_not_fit_into_a_step_is_made_up_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(barbook, "MOST_UPDATES", 50)
    house.ingest.accept([trade(-7200)])
    publish, calls = type(house.store).publish, []

    def away_after_the_first(*batch: Any) -> Any:
        calls.append(batch)
        if len(calls) in (2, 3):
            raise StoreUnavailable("Redis: gone")
        return publish(house.store, *batch)

    monkeypatch.setattr(house.store, "publish", away_after_the_first)
    assert house.ingest.accept([trade(0)]).accepted == 1
    with pytest.raises(StoreUnavailable):
        house.ingest.accept([quote(1)])
    assert house.ingest.accept([quote(1)]).accepted == 1
    assert len([kline for kline in house.minute() if not kline.trades]) == 119
    assert len([kline for kline in house.saved if kline.interval == "1m" and not kline.trades]) == 119


def test_symbols_of_a_batch_have_bars_of_their_own(house: House) -> None:
    house.ingest.accept([trade(1, "10"), trade(1, "99", symbol="Y")])
    assert [kline.close for symbol in "XY" for kline in house.minute(symbol)] == ["10", "99"]


def test_the_session_of_the_instrument_decides_on_its_day(house: House) -> None:
    house.ingest.accept([trade(1, symbol="US")])
    (day,) = [tick for tick in house.published("kline") if isinstance(tick, Kline) and tick.interval is Interval.D1]
    assert day.open_time == NOW + 5 * 3_600_000_000 - 24 * 3_600_000_000  # midnight in New York


# -- the store


def test_the_open_bar_continues_in_another_process(house: House) -> None:
    house.ingest.accept([trade(1, "10")])
    house.restart()
    house.ingest.accept([trade(1, "10"), trade(2, "12")])
    last = house.minute()[-1]
    assert (last.open, last.close, last.trades) == ("10", "12", 2)


def test_two_processes_take_trades_of_one_symbol_in_turn(house: House) -> None:
    one, two = house.ingest, house.another()
    for second in range(1, 5):
        (one if second % 2 else two).accept([trade(second, str(second))])
    last = house.minute()[-1]
    assert (last.open, last.close, last.trades) == ("1", "4", 4)
    assert one.book.underived == two.book.underived == 0


def test_a_conflict_costs_no_trade_and_counts_none_twice(house: House) -> None:
    house.ingest.accept([trade(1), trade(1, symbol="Y")])
    theirs = Bars("X")
    theirs.apply([trade(2), trade(3)])
    house.store.rival, house.store.rivalry = [State("bars:X", 0, theirs.dump())], 1
    done = house.ingest.accept([trade(3), trade(4), trade(2, symbol="Y")])
    assert (done.accepted, done.duplicates) == (2, 1)  # trade(3) had come by way of the other
    assert (house.minute()[-1].trades, house.minute("Y")[-1].trades) == (3, 2)


def test_endless_conflicts_publish_the_trades_without_bars(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.ingest.accept([trade(1)])
    house.store.rivalry = 2 * barbook.ATTEMPTS
    done = house.ingest.accept([trade(1), trade(2), quote(2)])
    assert (done.accepted, done.duplicates) == (2, 1)
    assert house.ingest.accept([trade(3)]).accepted == 1
    assert (house.ingest.book.underived, len(house.published("trade")), len(house.minute())) == (2, 3, 1)
    assert len([record for record in caplog.records if "without them" in record.message]) == 1
    caplog.set_level(logging.INFO)
    house.ingest.accept([trade(4)])
    assert "deriving bars: works again" in caplog.text
    assert house.minute()[-1].trades == 2


def test_a_store_that_lost_its_memory_gets_the_bars_back(house: House) -> None:
    house.ingest.accept([trade(1), trade(2)])
    house.store.wipe()
    house.ingest.accept([trade(2), trade(3)])
    assert house.minute()[-1].trades == 3
    house.restart()
    house.ingest.accept([trade(4)])
    assert house.minute()[-1].trades == 4


def test_a_batch_refused_by_a_store_that_is_away_may_be_given_again(house: House) -> None:
    house.ingest.accept([trade(1)])
    house.store.away = True
    with pytest.raises(StoreUnavailable):
        house.ingest.accept([trade(2)])
    house.store.away = False
    assert house.ingest.accept([trade(2)]).accepted == 1
    assert house.minute()[-1].trades == 2


def test_a_store_that_goes_away_after_a_conflict_leaves_no_trace(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.ingest.accept([trade(1)])
    house.store.rivalry = 1

    def gone(_: object) -> None:
        raise StoreUnavailable("Redis: gone")

    with monkeypatch.context() as patch:
        patch.setattr(house.ingest._publisher, "load", gone)
        with pytest.raises(StoreUnavailable):
            house.ingest.accept([trade(2)])
    assert house.ingest.accept([trade(2)]).accepted == 1
    assert house.minute()[-1].trades == 2


def test_a_batch_of_which_only_the_answer_was_lost_is_not_counted_twice(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.ingest.accept([trade(1)])
    publish = type(house.store).publish

    def published_but_unheard(*call: Any) -> Any:
        publish(house.store, *call)
        raise StoreUnavailable("Redis: timeout")

    with monkeypatch.context() as patch:
        patch.setattr(house.store, "publish", published_but_unheard)
        with pytest.raises(StoreUnavailable):
            house.ingest.accept([trade(2)])
    done = house.ingest.accept([trade(2), trade(3)])
    assert (done.accepted, done.duplicates, house.minute()[-1].trades) == (1, 1, 3)


def test_bars_that_cannot_be_read_begin_anew(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.store.publish([], [State("bars:X", 0, b"nonsense")])
    assert house.ingest.accept([trade(1)]).accepted == 1
    assert house.minute()[-1].trades == 1
    assert "begin anew" in caplog.text


# -- closed bars


def test_closed_bars_are_saved_after_they_were_published(house: House) -> None:
    house.now += 2 * MINUTE
    house.ingest.accept([trade(1), trade(121)])
    assert {(kline.interval, kline.open_time) for kline in house.saved} == {("1m", NOW), ("1m", NOW + MINUTE)}
    house.ingest.accept([trade(2)])
    assert house.saved[-1].revision == 1


def test_closed_bars_that_a_feed_brings_are_saved(house: House) -> None:
    house.ingest.accept([bar(), bar(ts=NOW + 9, open_time=NOW + MINUTE, close_time=NOW + 2 * MINUTE, closed=False)])
    assert house.saved == [bar()]


def test_the_clock_closes_a_bar_two_seconds_after_its_end(house: House) -> None:
    house.ingest.accept([trade(1)])
    house.ingest.advance(NOW + MINUTE + 1_999_999)
    assert not house.saved
    house.ingest.advance(NOW + MINUTE + 2_000_000)
    assert [(kline.interval, kline.closed) for kline in house.saved] == [("1m", True)]
    assert house.minute()[-1].closed
    house.ingest.advance(NOW + MINUTE + 3_000_000)
    assert len(house.saved) == 1


def test_the_clock_closes_the_bars_of_many_symbols_in_one_publish(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.ingest.accept([trade(1), trade(1, symbol="Y"), trade(30, symbol="US")])
    calls: list[int] = []
    publish = house.store.publish
    monkeypatch.setattr(
        house.store, "publish", lambda ticks, states, mark: calls.append(len(states)) or publish(ticks, states, mark)
    )
    house.ingest.advance(NOW + 2 * MINUTE)
    house.ingest.advance(NOW + 2 * MINUTE + 1)
    assert calls == [3]


def test_the_clock_leaves_bars_of_a_recording_alone(house: House) -> None:
    house.ingest.accept([trade(-86_400)])
    house.ingest.advance(NOW + MINUTE)
    assert not house.saved
    house.ingest.accept([trade(-86_300)])
    assert house.saved


def test_two_processes_that_close_the_same_bar_close_it_once(house: House) -> None:
    other = house.another()
    house.ingest.accept([trade(1)])
    other.accept([trade(2)])
    house.ingest.accept([trade(3)])
    for ingest in (house.ingest, other):
        ingest.advance(NOW + 2 * MINUTE)
    assert len([kline for kline in house.minute() if kline.closed]) == 1


def test_closing_that_failed_is_made_up_for(house: House) -> None:
    house.ingest.accept([trade(1)])
    house.store.away = True
    with pytest.raises(StoreUnavailable):
        house.ingest.advance(NOW + 2 * MINUTE)
    house.store.away = False
    house.ingest.advance(NOW + 2 * MINUTE)
    assert house.minute()[-1].closed


# -- the database


def test_an_unreadable_instruments_table_is_survived(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.ingest.accept([quote()])

    def broken() -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(house.instruments, "refresh", broken)
    monkeypatch.setattr("marketdata.ingest.INSTRUMENTS_AGE_S", -1)
    assert house.ingest.accept([quote(1)]).accepted == 1


def test_without_any_instruments_read_nothing_is_accepted(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(house.instruments, "refresh", broken)
    with pytest.raises(OperationalError):
        house.ingest.accept([quote()])


# -- the asynchronous face


@pytest.fixture
def async_ingest(house: House) -> Ingest:
    publisher = AsyncPublisher(AsyncStore(house.store))  # type: ignore[arg-type]
    return Ingest(publisher, house.instruments, clock=lambda: house.now, writer=BarWriter(house.saved.extend, pause_s=0.01))


async def test_both_faces_do_the_same(house: House, async_ingest: Ingest) -> None:
    batch = [quote(), trade(1), trade(1), trade(2, price="0"), trade(62)]
    twin = House()
    assert await async_ingest.aaccept(batch) == twin.ingest.accept(batch)
    await async_ingest.aadvance(NOW + 3 * MINUTE)
    twin.ingest.advance(NOW + 3 * MINUTE)
    assert house.published() == twin.published()


async def test_concurrent_batches_of_one_symbol_do_not_conflict(house: House, async_ingest: Ingest) -> None:
    await asyncio.gather(*(async_ingest.aaccept([trade(second)]) for second in range(20)))
    assert house.minute()[-1].trades == 20
    assert house.store.load(["bars:X"])[0].version == 20


async def test_a_cancelled_batch_leaves_no_trace(house: House, async_ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    await async_ingest.aaccept([trade(1)])
    with monkeypatch.context() as patch:
        patch.setattr(AsyncStore, "publish", lambda *_: asyncio.sleep(60))
        task = asyncio.create_task(async_ingest.aaccept([trade(2)]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (await async_ingest.aaccept([trade(2)])).accepted == 1
    assert house.minute()[-1].trades == 2


async def test_a_slow_instruments_table_does_not_delay_a_tick(
    house: House, async_ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await async_ingest.aaccept([quote()])
    release = asyncio.Event()

    async def slow() -> None:
        await release.wait()
        raise OperationalError("and then it breaks")

    monkeypatch.setattr(house.instruments, "arefresh", slow)
    monkeypatch.setattr("marketdata.ingest.INSTRUMENTS_AGE_S", -1)
    for second in range(1, 4):
        assert (await async_ingest.aaccept([quote(second)])).accepted == 1
    release.set()
    await async_ingest.stop()


async def test_stop_names_what_was_not_saved(house: House, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: object) -> None:
        raise OperationalError("gone")

    caplog.set_level(logging.WARNING)
    publisher = AsyncPublisher(AsyncStore(house.store))  # type: ignore[arg-type]
    ingest = Ingest(publisher, house.instruments, clock=lambda: house.now, writer=BarWriter(broken))
    await ingest.start()
    await ingest.aaccept([trade(1), Trade("X", NOW + MINUTE, "2", "10", "1")])
    await ingest.stop()
    assert "1 closed bars unsaved" in caplog.text
