"""What feeds bring, on its way to the store, whether or not the store takes it just now.

Rules of this file:
1. Nobody who offers ticks is told of an outage by an error, nor waits for its end: the ticks wait, in a bounded `Backlog`.
2. Order is kept: while anything waits, whatever comes later waits behind it.
3. A batch of which nobody knows whether it was published is given again, unchanged and under the same mark, before any other.
4. Nothing is lost in silence: what was left out, given up or refused later is counted, by kind.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from marketdata.backlog import Backlog
from marketdata.backoff import Backoff
from marketdata.batch import Mark
from marketdata.errors import StoreUnavailable
from marketdata.kept import end
from marketdata.ticks import Tick

if TYPE_CHECKING:
    from marketdata.ingest import Accepted, Rejected

log = logging.getLogger(__name__)

FIRST_S, LONGEST_S = 0.1, 5.0  # pauses between tries
STOP_S = 1.0

Accept = Callable[[Sequence[Tick], Mark], Awaitable["Accepted"]]


class Offered(NamedTuple):
    """What became of a batch so far.

    Attributes:
        accepted: how many ticks were published.
        rejected: those that were refused, by index.
        duplicates: how many trades had been published before.
        waiting: how many wait for the store; what becomes of them is counted by `Ingest` when it is known.
    """

    accepted: int
    rejected: list[Rejected]
    duplicates: int
    waiting: int


class Offers:
    """Ticks on their way.

    Attributes:
        backlog: those that wait, and how many were left out.
        backoff: tries again; its `outage` counts the failures.
        failed: ticks given up because publishing them failed in a way that nobody foresaw, or because the process ended, by
            data type.
    """

    def __init__(self, accept: Accept, backlog: Backlog, most: int) -> None:
        """Take the parts.

        Args:
            accept: publishes ticks in one step.
            backlog: where ticks wait.
            most: ticks in one step.
        """
        self.backlog = backlog
        self.backoff = Backoff("publishing", log, first_s=FIRST_S, longest_s=LONGEST_S)
        self.failed: Counter[str] = Counter()
        self._accept, self._most = accept, most
        self._doubtful: Sequence[Tick] = ()
        self._writer, self._number = secrets.token_hex(8), 1
        self._order = asyncio.Lock()
        self._clear = asyncio.Event()
        self._clear.set()
        self._flushing: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many ticks wait."""
        return len(self._doubtful) + len(self.backlog)

    async def offer(self, ticks: Sequence[Tick], wait: float = 0.0) -> Offered:
        """Publish ticks, or have them wait; see `Ingest.aoffer`."""
        async with self._order:
            accepted, rejected, duplicates, done = 0, [], 0, 0
            while done < len(ticks) and not self.waiting:
                part = await self._give(ticks[done : done + self._most], ticks[done + self._most :])
                if part is None:
                    break
                accepted, duplicates = accepted + part.accepted, duplicates + part.duplicates
                rejected += [each.behind(done) for each in part.rejected]
                done += self._most
            else:
                self._wait_for_store(ticks[done:])
        left = max(len(ticks) - done, 0)
        return Offered(accepted, sorted(rejected), duplicates, left if left and not await self._cleared(wait) else 0)

    async def _cleared(self, within_s: float) -> bool:
        """Whether nothing waits any more; what is told at once if nobody has time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._clear.wait()
        return self._clear.is_set()

    async def _give(self, ticks: Sequence[Tick], rest: Sequence[Tick]) -> Accepted | None:
        """Publish ticks; when nobody knows whether that was done, all wait, and None is returned."""
        try:
            return await self._try(ticks)
        except StoreUnavailable as error:
            self.backoff.failed(error)
            self._doubtful = ticks
            self._wait_for_store(rest)
            return None
        except asyncio.CancelledError:  # whoever brought them is stopped, they are not
            self._doubtful = ticks
            self._wait_for_store(rest)
            raise

    async def _try(self, ticks: Sequence[Tick]) -> Accepted:
        try:
            done = await self._accept(ticks, Mark(self._writer, self._number))
        except (StoreUnavailable, asyncio.CancelledError):
            raise  # and the same number is used again, for the same ticks
        except BaseException:
            self._number += 1
            raise
        self._number += 1
        self.backoff.over()
        return done

    def _wait_for_store(self, ticks: Sequence[Tick]) -> None:
        self.backlog.put(ticks)
        if self.waiting and (self._flushing is None or self._flushing.done()):
            self._clear.clear()
            self._flushing = asyncio.create_task(self._flush(), name="publishing what waits")

    async def _flush(self) -> None:
        while self.waiting:
            await self.backoff.pause()
            try:
                await self._give_all()
            except StoreUnavailable as error:
                self.backoff.failed(error)
        self._clear.set()

    async def _give_all(self) -> None:
        while self.waiting:
            self._doubtful = self._doubtful or self.backlog.take(self._most)
            try:
                await self._try(self._doubtful)
            except (StoreUnavailable, asyncio.CancelledError):
                raise
            except Exception:  # these ticks will never get through; those behind them may
                log.exception("publishing %d ticks failed; they are given up", len(self._doubtful))
                self._give_up(self._doubtful)
            self._doubtful = ()

    def _give_up(self, ticks: Sequence[Tick]) -> None:
        self.failed.update(tick.type.value for tick in ticks)

    async def stop(self) -> None:
        """Publish what waits, for `STOP_S` at most; what is left is given up, counted and logged."""
        if self._flushing is not None:
            await end(self._flushing)
        with suppress(TimeoutError, StoreUnavailable):
            async with asyncio.timeout(STOP_S):
                await self._give_all()
        if self.waiting:
            log.warning("stopped with %d ticks unpublished", self.waiting)
            self._give_up([*self._doubtful, *self.backlog.take(len(self.backlog))])
            self._doubtful = ()
