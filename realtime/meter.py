"""Reads what each connection of a user was sent, and has what users use written now and then."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple

from channels.db import database_sync_to_async
from django import db

from marketdata.backoff import Backoff
from marketdata.kept import KeptTask
from realtime.connection import Connection
from realtime.usage import MOST_PRUNED, Holder, Line, Sums, metered, prune, save, sums

logger = logging.getLogger(__name__)

READ_AT_ONCE = 500  # connections, before the loop may do something else
LONGEST_S = 30.0  # between two tries while the database is away
PRUNED_EVERY_S = 3600.0
STOP_S = 2.0


class Mark(NamedTuple):
    """Whose a connection is, and what had been read of it when it was last looked at."""

    holder: Holder
    messages: int
    commands: int
    bytes: int


class Meter:
    """Adds up for one event loop what its users' connections use, and writes it behind the back of the data path.

    Args:
        every_s: pause between two writes; a process that is killed loses what came since the last one.
        days: how long rows are kept.
        into: where it is added up, with what REST adds.
        save: writes lines; whatever it raises means that none was written.

    Attributes:
        task: what does it.
        outage: failures of the database.
    """

    def __init__(
        self,
        every_s: float,
        days: int,
        *,
        into: Sums = sums,
        save: Callable[[Sequence[Line]], None] = save,
    ) -> None:
        self.every_s, self.days = every_s, days
        self.task = KeptTask("usage", self._run, logger)
        self._sums, self._save = into, save
        self._marks: dict[Connection, Mark] = {}
        self._backoff = Backoff("saving what users use", logger, longest_s=LONGEST_S)
        self.outage = self._backoff.outage
        self._retry_at = 0.0  # monotonic seconds
        self._prune_at = -math.inf
        self._lost = 0  # that were told
        # A thread of its own: a database that hangs here must not keep others from reading.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="usage")

    # Reading

    def begin(self, connection: Connection) -> None:
        """From now on what a connection uses is its principal's; call it whenever somebody says who it is."""
        self._read(connection)
        holder, before = metered(connection.principal), self._marks.get(connection)
        if holder is None or connection.cohort is None or (before is not None and before.holder == holder):
            return  # a visitor, or one that is gone, or nothing new
        self._marks[connection] = _mark(holder, connection)
        self._sums.add(holder, connections=1)

    def end(self, connection: Connection) -> None:
        """The connection is gone."""
        self._read(connection)
        self._marks.pop(connection, None)

    def _read(self, connection: Connection) -> None:
        mark = self._marks.get(connection)
        if mark is None:
            return
        now = self._marks[connection] = _mark(mark.holder, connection)
        if now != mark:
            used = {"messages": now.messages - mark.messages, "commands": now.commands - mark.commands}
            self._sums.add(mark.holder, bytes=now.bytes - mark.bytes, **used)

    async def read(self) -> None:
        """Add up what all connections used since they were last read."""
        for number, connection in enumerate(list(self._marks), 1):
            self._read(connection)
            if number % READ_AT_ONCE == 0:
                await asyncio.sleep(0)

    # Writing

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self.every_s)
            await self.read()
            await self._flush_behind()

    async def _flush_behind(self, *, force: bool = False) -> None:
        try:
            await database_sync_to_async(self.flush, thread_sensitive=False, executor=self._thread)(force=force)
        except Exception as error:  # around `flush`, which does not raise: looking after the connection
            self.outage.failed(error, foreseen=isinstance(error, db.Error))

    def flush(self, *, force: bool = False) -> None:
        """Write what waits and drop what is old, unless that has just failed. Never raises: what is not written waits on.

        Args:
            force: try also right after a failure.
        """
        if time.monotonic() < self._retry_at and not force:
            return
        try:
            self._write()
            self._prune()
        except Exception as error:
            self._backoff.failed(error, foreseen=isinstance(error, db.Error))
            self._retry_at = time.monotonic() + self._backoff.wait_s
        else:
            self._backoff.over()
        self._tell_losses()

    def _write(self) -> None:
        while lines := self._sums.take():
            try:
                self._save(lines)
            except BaseException:
                self._sums.put_back(lines)
                raise
            self._sums.done(lines)

    def _prune(self) -> None:
        if time.monotonic() < self._prune_at:
            return
        if prune(self.days) < MOST_PRUNED:  # else there may be more, at the next write
            self._prune_at = time.monotonic() + PRUNED_EVERY_S

    def _tell_losses(self) -> None:
        if self._sums.lost > self._lost:
            text = "what users use: %d additions were lost, because %d users, keys and days wait to be saved"
            logger.warning(text, self._sums.lost - self._lost, len(self._sums))
        self._lost = self._sums.lost

    async def stop(self) -> None:
        """Read once more, write what waits, for `STOP_S` at most, and stop."""
        await self.task.stop()
        await self.read()
        if not len(self._sums):
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await self._flush_behind(force=True)
        if len(self._sums):
            logger.warning("stopped with what users used on %d lines unsaved", len(self._sums))


def _mark(holder: Holder, connection: Connection) -> Mark:
    return Mark(holder, connection.messages, connection.commands, connection.sent_bytes)
