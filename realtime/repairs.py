"""How the hub mends what the bus lost: holes in seq, and everything that came while the bus was away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from marketdata.errors import StoreUnavailable
from marketdata.store import Stamped
from realtime import protocol
from realtime.cohorts import Entry

if TYPE_CHECKING:
    from realtime.hub import Hub

PAUSE_S = 0.5
ATTEMPTS = 10
READ_AT_ONCE = 200  # topics in one round trip to the store


class Repairs:
    """Mends the entries of one hub. While an entry is under repair its updates are held, so that order is kept."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    async def resync(self, entries: Sequence[Entry]) -> None:
        """After the bus was away: deliver what the store has newer, which shows the holes, which are then mended."""
        live = [entry for entry in entries if entry.live]
        for at in range(0, len(live), READ_AT_ONCE):
            some = live[at : at + READ_AT_ONCE]
            for entry, latest in zip(some, await self._latest(some), strict=True):
                if latest is not None and not entry.repairing:
                    self.hub.deliver(entry, latest.epoch, latest.seq, latest.body)
        self.hub.counts["resyncs"] += 1

    async def _latest(self, entries: Sequence[Entry]) -> list[Stamped | None]:
        while True:
            try:
                return await self.hub.store.latest([entry.name for entry in entries])
            except StoreUnavailable:
                await asyncio.sleep(PAUSE_S)

    def begin(self, entry: Entry) -> None:
        """Mend the hole before the first held update."""
        if not entry.repairing:
            entry.repairing = True
            self.hub.spawn(self._mend(entry))

    async def _mend(self, entry: Entry) -> None:
        epoch, after, _ = entry.held[0]
        found = await self._missing(entry, entry.seq + 1, after - 1)
        entry.repairing = False
        for stamped in found:
            if stamped.epoch == entry.epoch == epoch and stamped.seq > entry.seq:
                self._skip_to(entry, stamped.seq)
                self.hub.deliver(entry, stamped.epoch, stamped.seq, stamped.body)
                self.hub.counts["healed"] += 1
        self._skip_to(entry, after)
        held, entry.held = entry.held, []
        for message in held:
            self.hub.deliver(entry, *message)

    async def _missing(self, entry: Entry, first: int, last: int) -> list[Stamped]:
        for _ in range(ATTEMPTS):
            try:
                return (await self.hub.store.history(entry.name, from_seq=first, to_seq=last, limit=last - first + 1)).updates
            except StoreUnavailable:
                await asyncio.sleep(PAUSE_S)
        return []

    def _skip_to(self, entry: Entry, seq: int) -> None:
        """Go on with `seq` although updates before it are lost; clients of an every topic are told."""
        first, entry.seq = entry.seq + 1, max(entry.seq, seq - 1)
        if first >= seq or not entry.every:
            return
        self.hub.flush()  # what came before the hole goes out before the notice of it
        message = protocol.gap(entry.name, entry.epoch, first, seq - 1, "broker")
        self.hub.counts["gaps"] += 1
        for connection in entry.connections():
            connection.gaps += 1
            connection.say(message)
