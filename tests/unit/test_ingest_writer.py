"""The writer of closed bars: bounded, retried, behind the back of the data path."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

import pytest
from django.db import OperationalError

from marketdata.bars import BarWriter
from marketdata.ticks import Kline
from tests.unit.ingest_parts import MINUTE, NOW, bar


class Database:
    """Takes bars, or fails while it is down."""

    def __init__(self) -> None:
        self.down: Exception | None = None
        self.writes: list[list[Kline]] = []
        self.tries = 0

    def save(self, klines: object) -> None:
        self.tries += 1
        if self.down:
            raise self.down
        self.writes.append(list(klines))  # type: ignore[call-overload]


def at(minute: int, **changes: object) -> Kline:
    return bar(open_time=NOW + minute * MINUTE, **changes)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    pytest.fail("in vain")


@pytest.fixture
def database() -> Database:
    return Database()


def test_bars_that_wait_are_written_at_once(database: Database) -> None:
    writer = BarWriter(database.save)
    writer.put([at(0)])
    writer.put([at(1)])
    writer.flush()
    assert (database.writes, writer.saved, writer.pending) == ([[at(0), at(1)]], 2, 0)


def test_nothing_to_write_asks_nothing_of_the_database(database: Database) -> None:
    BarWriter(database.save).flush()
    assert database.tries == 0


def test_a_revision_takes_the_place_of_the_bar_that_waits(database: Database) -> None:
    writer = BarWriter(database.save)
    writer.put([at(0), at(0, revision=1)])
    writer.flush()
    assert database.writes == [[at(0, revision=1)]]


def test_an_outage_keeps_the_bars_and_is_logged_once(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    writer = BarWriter(database.save, retry_s=0)
    database.down = OperationalError("no such host")
    writer.put([at(0), at(1)])
    writer.flush()
    writer.put([at(1, revision=1)])
    writer.flush()
    assert (writer.outage.failures, writer.pending) == (2, 2)
    database.down = None
    writer.flush()
    assert database.writes == [[at(0), at(1, revision=1)]]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_an_error_that_nobody_foresaw_is_survived_and_shown(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    writer = BarWriter(database.save)
    database.down = RuntimeError("bug")
    writer.put([at(0)])
    writer.flush()
    assert writer.pending == 1
    assert caplog.records[0].exc_info


def test_a_database_that_just_failed_is_left_alone_for_a_while(database: Database) -> None:
    writer = BarWriter(database.save, retry_s=60)
    database.down = OperationalError("gone")
    writer.put([at(0)])
    writer.flush()
    writer.flush()
    assert database.tries == 1
    writer.flush(force=True)
    assert database.tries == 2


def test_of_too_many_bars_the_oldest_are_dropped_and_counted(database: Database) -> None:
    writer = BarWriter(database.save, retry_s=0, most=3)
    database.down = OperationalError("gone")
    writer.put([at(0), at(1)])
    writer.flush()
    writer.put([at(minute) for minute in range(2, 5)])
    writer.flush()
    database.down = None
    writer.flush()
    assert (database.writes, writer.dropped) == ([[at(2), at(3), at(4)]], 2)


def test_what_comes_during_a_write_that_fails_is_newer_and_counts_towards_the_bound(database: Database) -> None:
    writer = BarWriter(lambda _: interrupted(), retry_s=0, most=3)

    def interrupted() -> None:
        writer.put([at(1, revision=1), at(2), at(3)])
        raise OperationalError("gone")

    writer.put([at(0), at(1)])
    writer.flush()
    assert (writer.pending, writer.dropped) == (3, 1)
    writer._save = database.save
    writer.flush()
    assert database.writes == [[at(1, revision=1), at(2), at(3)]]


async def test_a_running_writer_writes_by_itself_and_batches(database: Database) -> None:
    writer = BarWriter(database.save, pause_s=0.05)
    await writer.start()
    writer.put([at(0)])
    writer.put([at(1)])
    await until(lambda: writer.saved == 2)
    assert len(database.writes) == 1
    await writer.stop()


async def test_stopping_writes_what_waits(database: Database) -> None:
    writer = BarWriter(database.save, pause_s=60)
    await writer.start()
    writer.put([at(0)])
    await writer.stop()
    assert database.writes == [[at(0)]]


async def test_a_slow_database_holds_up_neither_the_loop_nor_new_bars(database: Database) -> None:
    begun, release = threading.Event(), threading.Event()

    def slow(klines: object) -> None:
        begun.set()
        release.wait(5)
        database.save(klines)

    writer = BarWriter(slow, pause_s=0.01)
    await writer.start()
    writer.put([at(0)])
    await until(begun.is_set)
    writer.put([at(1)])
    assert (database.writes, writer.pending) == ([], 2)
    release.set()
    await until(lambda: writer.saved == 2)
    await writer.stop()


async def test_stopping_does_not_wait_for_a_database_that_hangs(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    release = threading.Event()

    def hangs(klines: object) -> None:
        release.wait(5)

    monkeypatch.setattr("marketdata.bars.STOP_S", 0.05)
    writer = BarWriter(hangs, pause_s=60)
    writer.put([at(0)])
    await writer.stop()
    release.set()
    assert "1 closed bars unsaved" in caplog.text


async def test_a_connection_that_breaks_around_a_write_does_not_end_the_writer(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OperationalError("cannot look after the connection")

    writer = BarWriter(database.save, pause_s=0.01)
    with monkeypatch.context() as patch:
        patch.setattr("marketdata.bars.database_sync_to_async", broken)
        await writer.start()
        writer.put([at(0)])
        await until(lambda: writer.outage.failures > 0)
    await until(lambda: writer.saved == 1)
    await writer.stop()
