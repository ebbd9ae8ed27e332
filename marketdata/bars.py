"""Closed bars at rest: written in bulk, read for history."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from threading import Lock

from channels.db import database_sync_to_async
from django import db
from django.db import connection, transaction
from django.db.models import QuerySet

from marketdata import models
from marketdata.backoff import Backoff
from marketdata.instruments import instruments
from marketdata.kept import KeptTask
from marketdata.klines import DAY_ZONES, bucket
from marketdata.ticks import Kline
from marketdata.topics import Interval

log = logging.getLogger(__name__)

PAUSE_S = 1.0
RETRY_S = (1.0, 30.0)  # longest pause after the first failed write, and after any
STOP_S = 2.0
MOST_PENDING = 100_000  # about 60 MB
MOST_ROWS = 2000  # in one statement: SQLite takes 32,766 parameters
_KEY = ("symbol", "interval", "open_time")
_VALUES = ("open", "high", "low", "close", "volume", "turnover", "trades", "revision", "ts")

Key = tuple[str, Interval, int]


def _key(kline: Kline) -> Key:
    return kline.symbol, kline.interval, kline.open_time


def save(klines: Iterable[Kline]) -> None:
    """Write closed bars; of two versions of a bar the one of the greater revision stays, of equal ones the later.

    Args:
        klines: in any order; open ones are left out. Up to `MOST_ROWS` cost one statement.
    """
    newest: dict[Key, Kline] = {}
    for kline in klines:
        known = newest.get(_key(kline))
        if kline.closed and (known is None or known.revision <= kline.revision):
            newest[_key(kline)] = kline
    rows = iter(newest.values())
    while batch := list(islice(rows, MOST_ROWS)):
        _upsert(batch)


def _upsert(klines: Sequence[Kline]) -> None:
    # Written by hand because bulk_create cannot say under which condition a row is replaced. SQLite and PostgreSQL read it alike.
    table, columns = _quoted(models.Kline._meta.db_table), [_quoted(name) for name in (*_KEY, *_VALUES)]
    row = f"({', '.join(['%s'] * len(columns))})"
    sql = (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * len(klines))} "  # noqa: S608
        f"ON CONFLICT ({', '.join(map(_quoted, _KEY))}) DO UPDATE SET "
        f"{', '.join(f'{name} = excluded.{name}' for name in map(_quoted, _VALUES))} "
        f"WHERE {table}.{_quoted('revision')} <= excluded.{_quoted('revision')}"
    )
    parameters = [value for kline in klines for value in _row(kline)]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, parameters)


def _quoted(name: str) -> str:
    return connection.ops.quote_name(name)


def _row(kline: Kline) -> tuple[str | int, ...]:
    return (
        kline.symbol, kline.interval.value, kline.open_time, kline.open, kline.high, kline.low, kline.close,
        kline.volume, kline.turnover, kline.trades, kline.revision, kline.ts,
    )  # fmt: skip


def load(symbol: str, interval: Interval, start_us: int, end_us: int, limit: int) -> list[Kline]:
    """Read closed bars, one query.

    Args:
        start_us, end_us: the bars that opened in `[start_us, end_us)`.
        limit: no more than that; the newest of them.

    Returns:
        Oldest first.
    """
    closes = _closes(symbol, interval)
    found = rows(symbol, interval, start_us, end_us, limit).values_list("open_time", *_VALUES)
    return [
        Kline(
            symbol, ts, interval, opened, closes(opened), open_, high, low, close, volume, turnover, trades, True, revision
        )
        for opened, open_, high, low, close, volume, turnover, trades, revision, ts in list(found)[::-1]
    ]  # fmt: skip


def rows(symbol: str, interval: Interval, start_us: int, end_us: int, limit: int) -> QuerySet[models.Kline]:
    """What `load` asks the database for, newest first; the index of `one_kline_per_open_time` has them in this order."""
    found = models.Kline.objects.filter(symbol=symbol, interval=interval.value, open_time__gte=start_us, open_time__lt=end_us)
    return found.order_by("-open_time")[:limit]


def _closes(symbol: str, interval: Interval) -> Callable[[int], int]:
    """When a bar closes that opened at an instant, µs."""
    length = interval.length_us
    instrument = instruments().find(symbol)
    if interval is not Interval.D1 or instrument is None or instrument.session not in DAY_ZONES:
        return lambda opened: opened + length
    session = instrument.session

    def closes(opened: int) -> int:
        start, end = bucket(opened, interval, session)
        return end if start == opened else opened + length  # a feed's own bars may lie otherwise

    return closes


class BarWriter:
    """Saves closed bars behind the back of the data path: bounded, retried, so that a slow database never delays a tick.

    Attributes:
        saved: bars written.
        dropped: bars given up because more than `most` were waiting.
        outage: failures of the database.
    """

    def __init__(
        self,
        save: Callable[[Sequence[Kline]], None] = save,
        *,
        pause_s: float = PAUSE_S,
        retry_s: float = RETRY_S[0],
        most: int = MOST_PENDING,
    ) -> None:
        """Take the parts.

        Args:
            save: writes bars; whatever it raises means that none was written.
            pause_s: between two writes of the running writer.
            retry_s: no longer than that no other try is made after a first one that failed.
            most: bars that may wait; of more the oldest are dropped.
        """
        self.saved = self.dropped = 0
        self._backoff = Backoff("saving closed bars", log, first_s=retry_s, longest_s=max(retry_s, RETRY_S[1]))
        self.outage = self._backoff.outage
        self._save, self._pause_s, self._most = save, pause_s, most
        self._pending: dict[Key, Kline] = {}
        self._writing = 0  # bars in the hands of `save`
        self._lock = Lock()
        self._retry_at = 0.0  # monotonic seconds
        self._task = KeptTask("saving closed bars", self._run, log)
        # A thread of its own: a database that hangs here must not keep others from reading.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="closed-bars")

    @property
    def pending(self) -> int:
        """How many bars are not saved yet."""
        return len(self._pending) + self._writing

    def put(self, klines: Iterable[Kline]) -> None:
        """Take bars over; returns at once."""
        with self._lock:
            self._pending.update((_key(kline), kline) for kline in klines)
            self._bound()

    def _bound(self) -> None:
        surplus = len(self._pending) - self._most
        for key in list(islice(self._pending, max(surplus, 0))):
            del self._pending[key]
            self.dropped += 1

    def flush(self, *, force: bool = False) -> None:
        """Write what waits, unless a write has just failed. Never raises: what cannot be written goes on waiting.

        Args:
            force: try also right after a failure.
        """
        if not self._pending or (time.monotonic() < self._retry_at and not force):
            return
        with self._lock:
            batch, self._pending = self._pending, {}
            self._writing = len(batch)
        try:
            self._save(list(batch.values()))
        except Exception as error:
            self._backoff.failed(error, foreseen=isinstance(error, db.Error))
            self._retry_at = time.monotonic() + self._backoff.wait_s
            with self._lock:
                self._pending = {**batch, **self._pending}
                self._bound()
        else:
            self.saved += len(batch)
            self._backoff.over()
        finally:
            self._writing = 0

    async def start(self) -> None:
        """Write from now on in a thread, once a pause."""
        self._task.start()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._pause_s)
            if self._pending:
                await self._flush_behind()

    async def _flush_behind(self, *, force: bool = False) -> None:
        try:
            await database_sync_to_async(self.flush, thread_sensitive=False, executor=self._thread)(force=force)
        except Exception as error:  # around `flush`, which does not raise: looking after the connection
            self.outage.failed(error, foreseen=isinstance(error, db.Error))

    async def stop(self) -> None:
        """Write what waits, for `STOP_S` at most, and stop."""
        await self._task.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await self._flush_behind(force=True)
        if self.pending:
            log.warning("stopped with %d closed bars unsaved", self.pending)
