"""What happens by the clock: heartbeats, stale topics, slow sockets, topics that nobody follows any more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

from marketdata.instruments import Instruments, is_open
from marketdata.kept import KeptTask
from marketdata.store import now_us
from realtime import protocol
from realtime.audit import Audit
from realtime.codes import Close, Eviction
from realtime.cohorts import Entry
from realtime.connection import Connection
from realtime.hub import Hub

logger = logging.getLogger(__name__)

TICK_S = 0.25
CHORES_S = 1.0


class Keeper:
    """Looks after one hub.

    Args:
        hub: whose connections and topics.
        instruments: sessions and which symbols are still listed.
        stale_after_s: age at which a topic is stale while its session is open.
        slow_notice_s, slow_close_s: how long a socket may be full before it is told, and before it is closed with 4008.
        each_tick: what else is to be done four times a second.
        each_second: what else is to be done among the chores.
        others: what else must not end.

    Attributes:
        tasks: what does all this.
        stale: the topics that are, by delay.
    """

    def __init__(
        self,
        hub: Hub,
        instruments: Instruments,
        *,
        stale_after_s: float,
        slow_notice_s: float,
        slow_close_s: float,
        each_tick: Callable[[], None] = lambda: None,
        each_second: Callable[[], Awaitable[object]] | None = None,
        others: Iterable[KeptTask] = (),
    ) -> None:
        self.hub = hub
        self.audit = Audit(hub)
        self.instruments = instruments
        self.stale_after_s = stale_after_s
        self.slow_notice_s, self.slow_close_s = slow_notice_s, slow_close_s
        self.each_tick = each_tick
        self.each_second = each_second
        self.stale: dict[int, set[str]] = {}
        self._failing: set[str] = set()
        self._started = False
        self.tasks = [KeptTask("keeper", self._tick_on, logger), KeptTask("chores", self._do_chores, logger), *others]
        self._version = 0

    def start(self) -> None:
        """Begin, in the running event loop. No heartbeat waits for a chore, which may wait for the database."""
        self._started = True
        for task in self.tasks:
            task.start()

    @property
    def alive(self) -> bool:
        """Whether all of it goes on, and nothing of it failed lately."""
        return not self._failing and (not self._started or all(task.alive for task in self.tasks))

    async def stop(self) -> None:
        """End."""
        for task in self.tasks:
            await task.stop()

    async def _tick_on(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TICK_S
            await asyncio.sleep(TICK_S)
            self.hub.lags_us.append(max(0, round((loop.time() - due) * 1e6)))
            self._try("heartbeats", self.tick)
            self._try("allowances", self.hub.allowances.look)
            self._try("each tick", self.each_tick)

    async def _do_chores(self) -> None:
        while True:
            await asyncio.sleep(CHORES_S)
            try:
                await self.chores()
                self._failing.discard("chores")
            except Exception:
                self._failed("chores")

    def _try(self, name: str, do: Callable[[], None]) -> None:
        try:
            do()
            self._failing.discard(name)
        except Exception:
            self._failed(name)

    def _failed(self, name: str) -> None:
        if name not in self._failing:
            logger.exception("keeper: %s failed; readiness says so until it works again", name)
        self._failing.add(name)

    def tick(self) -> None:
        """Send heartbeats that are due, and see to slow sockets."""
        now = asyncio.get_running_loop().time()
        for connection in list(self.hub.connections.values()):
            if connection.beat_at <= now and not connection.closing:
                connection.beat_at = now + connection.heartbeat_s
                self._beat(connection, now)
        for connection in self.hub.slow:
            self._see_to(connection, now)

    def _beat(self, connection: Connection, now: float) -> None:
        connection.beats += 1
        if not connection.blocked:
            connection.say(self.heartbeat(connection, now))

    def heartbeat(self, connection: Connection, now: float) -> bytes:
        """The heartbeat of a connection: how well it is served, and which of its topics are stale."""
        outbox, cohort = connection.outbox, connection.cohort
        following = cohort.paces if cohort is not None else {}
        return protocol.message(
            "heartbeat",
            n=connection.beats,
            time=now_us(),
            sent=connection.sent,
            conflated=connection.conflated,
            gaps=connection.gaps,
            queued=len(outbox) if outbox is not None else 0,
            lag_ms=round((now - connection.slow_since) * 1000) if connection.slow_since is not None else 0,
            stale=sorted(stale & following.keys()) if (stale := self.stale.get(connection.delay_us)) else [],
        )

    def _see_to(self, connection: Connection, now: float) -> None:
        if connection.slow_since is None:
            return
        slow_s = now - connection.slow_since
        if slow_s >= self.slow_close_s:
            self.hub.counts["slow_closed"] += 1
            connection.close(Close.SLOW_CONSUMER)
        elif slow_s >= self.slow_notice_s and not connection.noticed:
            connection.noticed = True
            self.hub.counts["slow_notices"] += 1
            text = "your connection does not keep up: values are conflated, and trades may be lost"
            connection.say(protocol.notice("slow", text, code=Close.SLOW_CONSUMER))

    async def chores(self) -> None:
        """Once a second: what the bus lost, instruments, staleness, idle topics."""
        await self.audit.look()  # first: what follows may wait for the database
        await self.instruments.arefresh_if_older(2.0)
        if self.instruments.version != self._version:
            self._version = self.instruments.version
            self._evict_unlisted()
        self._find_stale()
        await self.hub.forget_idle()
        if self.each_second is not None:
            await self.each_second()

    def _evict_unlisted(self) -> None:
        for name, entry in list(self.hub.entries.items()):
            if (entry.paces or entry.lines) and self.instruments.get(entry.topic.symbol) is None:
                self.hub.evict(name, Eviction.SYMBOL_DISABLED)

    def _find_stale(self) -> None:
        now = now_us()
        self.stale = {delay_us: self._stale_of(entries, now, now - delay_us) for delay_us, entries in self.hub.delays.all()}

    def _stale_of(self, entries: Mapping[str, Entry], now: int, then: int) -> set[str]:
        """Topics of which nothing came for too long; at a delay it is their session of then that counts."""
        before = now - int(self.stale_after_s * 1e6)
        return {entry.name for entry in entries.values() if entry.changed_us < before and self._is_open(entry.topic.symbol, then)}

    def _is_open(self, symbol: str, now: int) -> bool:
        instrument = self.instruments.get(symbol)
        return instrument is not None and is_open(instrument.session, now)
