"""Closed bars in a real database: SQLite, and PostgreSQL where its server is installed."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from marketdata import bars, models
from marketdata.instruments import instruments
from marketdata.ticks import Kline
from marketdata.topics import Interval
from tests.unit.ingest_parts import MINUTE, NOW, bar

pytestmark = pytest.mark.django_db

FOREVER_US = 1 << 62


def at(minute: int, **changes: object) -> Kline:
    return bar(open_time=NOW + minute * MINUTE, close_time=NOW + (minute + 1) * MINUTE, ts=NOW + minute * MINUTE + 1, **changes)


def stored(limit: int = 100) -> list[Kline]:
    return bars.load("X", Interval.M1, 0, FOREVER_US, limit)


@pytest.fixture(autouse=True)
def _fresh_instruments() -> None:
    instruments.cache_clear()


def test_a_saved_bar_reads_back_the_same() -> None:
    saved = [at(0, open="10.500", revision=2), at(1, volume="0", turnover="0", trades=0)]
    bars.save(saved)
    assert stored() == saved


def test_open_bars_are_left_out() -> None:
    bars.save([at(0, closed=False)])
    assert stored() == []


def test_the_greater_revision_wins_whenever_it_comes() -> None:
    bars.save([at(0, close="11", revision=1), at(1, close="11")])
    bars.save([at(0, close="9"), at(1, close="9", revision=1)])
    assert [(kline.close, kline.revision) for kline in stored()] == [("11", 1), ("9", 1)]


def test_of_equal_revisions_the_later_wins() -> None:
    bars.save([at(0, close="11")])
    bars.save([at(0, close="9")])
    assert [kline.close for kline in stored()] == ["9"]


def test_a_bar_that_is_twice_in_a_batch_is_written_once() -> None:
    bars.save([at(0, close="10"), at(0, close="12", revision=2), at(0, close="11", revision=1)])
    assert [(kline.close, kline.revision) for kline in stored()] == [("12", 2)]


def test_a_batch_is_one_statement() -> None:
    with CaptureQueriesContext(connection) as queries:
        bars.save([at(minute) for minute in range(500)])
    assert len([query for query in queries if query["sql"].startswith("INSERT")]) == 1


def test_a_batch_larger_than_a_statement_is_saved_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "MOST_ROWS", 7)
    bars.save([at(minute) for minute in range(20)])
    assert len(stored()) == 20


def test_the_largest_statement_fits_the_database() -> None:
    bars.save([at(minute) for minute in range(bars.MOST_ROWS)])
    assert models.Kline.objects.count() == bars.MOST_ROWS


def test_reading_takes_the_newest_of_a_range_oldest_first() -> None:
    bars.save([at(minute) for minute in range(10)])
    found = bars.load("X", Interval.M1, NOW + 2 * MINUTE, NOW + 8 * MINUTE, 3)
    assert [(kline.open_time - NOW) // MINUTE for kline in found] == [5, 6, 7]


def test_reading_keeps_to_symbol_and_interval() -> None:
    bars.save([at(0), at(0, symbol="Y"), at(0, interval=Interval.M5)])
    assert stored() == [at(0)]


def test_reading_is_one_query() -> None:
    instruments().refresh()
    with CaptureQueriesContext(connection) as queries:
        stored()
    assert len(queries) == 1


def test_the_unique_index_serves_reading_in_its_own_order() -> None:
    bars.save([at(minute) for minute in range(100)])
    if connection.vendor == "postgresql":  # it would rather read so small a table whole
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off")
    plan = bars.rows("X", Interval.M1, NOW, NOW + 90 * MINUTE, 10).explain()
    index = {"sqlite": "USING INDEX sqlite_autoindex_marketdata_kline", "postgresql": "Backward using one_kline_per_open_time"}
    assert index[connection.vendor] in plan
    assert "Sort" not in plan
    assert "TEMP B-TREE" not in plan


def test_the_day_of_an_exchange_closes_at_its_own_midnight() -> None:
    models.Instrument.objects.create(symbol="X", kind="stock", session="us")
    midnight = 1_710_046_800_000_000  # 2024-03-10 in New York, 23 hours long
    bars.save([bar(interval=Interval.D1, open_time=midnight, close_time=midnight + 23 * 60 * MINUTE)])
    (found,) = bars.load("X", Interval.D1, 0, FOREVER_US, 1)
    assert found.close_time == midnight + 23 * 60 * MINUTE


def test_a_bar_of_a_feed_that_lies_otherwise_keeps_its_length() -> None:
    models.Instrument.objects.create(symbol="X", kind="stock", session="us")
    bars.save([bar(interval=Interval.D1, open_time=NOW, close_time=NOW + 1440 * MINUTE)])
    (found,) = bars.load("X", Interval.D1, 0, FOREVER_US, 1)
    assert (found.open_time, found.close_time) == (NOW, NOW + 1440 * MINUTE)
