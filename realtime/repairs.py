"""How the hub mends what the bus lost: holes in seq, and everything that came while the bus was away."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from marketdata.backoff import Backoff
from marketdata.errors import StoreUnavailable
from marketdata.outage import Outage
from marketdata.store import Stamped
from realtime.cohorts import Entry
from realtime.outbox import Gap

if TYPE_CHECKING:
    from realtime.hub import Hub

log = logging.getLogger(__name__)

PAUSES_S = (0.1, 2.0)
ATTEMPTS = 10
READ_AT_ONCE = 200  # topics in one round trip to the store


class Repairs:
    """Mends the entries of one hub. While an entry is under repair its updates are held, so that order is kept."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._outage = Outage("repairs: reading from the store", log)

    def _tries(self, attempts: int | None = None) -> Backoff:
        return Backoff("repairs", log, first_s=PAUSES_S[0], longest_s=PAUSES_S[1], attempts=attempts, outage=self._outage)

    async def resync(self, entries: Sequence[Entry]) -> None:
        """After the bus was away: deliver what the store has newer, which shows the holes, which are then mended."""
        live = [entry for entry in entries if entry.live]
        for at in range(0, len(live), READ_AT_ONCE):
            some = live[at : at + READ_AT_ONCE]
            known = [entry.epoch for entry in some]
            for entry, latest, epoch in zip(some, await self._latest(some), known, strict=True):
                if latest is not None and entry.epoch == epoch:  # else a new epoch has begun meanwhile: this is of the old one
                    self._take(entry, latest)
        self.hub.counts["resyncs"] += 1

    def _take(self, entry: Entry, latest: Stamped) -> None:
        if not entry.repairing:
            self.hub.deliver(entry, latest.epoch, latest.seq, latest.body)
        elif all(epoch == latest.epoch for epoch, _, _ in entry.held):
            entry.held.append((latest.epoch, latest.seq, latest.body))

    async def _latest(self, entries: Sequence[Entry]) -> list[Stamped | None]:
        return await self._tries().until_done(lambda: self.hub.store.latest([entry.name for entry in entries]), StoreUnavailable)

    def begin(self, entry: Entry) -> None:
        """Mend the hole before the first held update."""
        if not entry.repairing:
            entry.repairing = True
            self.hub.spawn(self._mend(entry))

    async def _mend(self, entry: Entry) -> None:
        epoch, after, _ = entry.held[0]
        found: Sequence[Stamped] = []
        try:
            found = await self._missing(entry, entry.seq + 1, after - 1)
        finally:  # whatever happened, the topic goes on
            entry.repairing = False
            self._go_on(entry, epoch, after, found)

    def _go_on(self, entry: Entry, epoch: str, after: int, found: Sequence[Stamped]) -> None:
        """Deliver what was found, announce what was not, then deliver what was held."""
        for stamped in found:
            if stamped.epoch == entry.epoch == epoch and stamped.seq > entry.seq:
                self.skip_to(entry, stamped.seq)
                self.hub.deliver(entry, stamped.epoch, stamped.seq, stamped.body)
                self.hub.counts["healed"] += 1
        self.skip_to(entry, after)
        held, entry.held = entry.held, []
        for message in held:
            self.hub.deliver(entry, *message)

    async def _missing(self, entry: Entry, first: int, last: int) -> list[Stamped]:
        tries = self._tries(ATTEMPTS)
        while not tries.exhausted:
            try:
                found = await self.hub.store.history(entry.name, from_seq=first, to_seq=last, limit=last - first + 1)
            except StoreUnavailable as error:
                tries.failed(error)
                await tries.pause()
                await self.hub.bus.connected.wait()  # an outage is no attempt: the history may well survive it
            else:
                tries.over()
                return found.updates
        return []

    def skip_to(self, entry: Entry, seq: int, reason: Literal["broker", "overflow"] = "broker") -> None:
        """Go on with `seq` although updates before it are lost; clients of an every topic are told."""
        first, entry.seq = entry.seq + 1, max(entry.seq, seq - 1)
        if first >= seq:
            return
        self.hub.replays.drop(entry)
        if not entry.every:
            return
        self.hub.flush()  # what came before the hole goes out before the notice of it
        gap = Gap(entry.epoch, first, seq - 1, reason)
        self.hub.counts["gaps"] += 1
        self.hub.counts[f"gap:{reason}"] += 1
        self.hub.counts["lost"] += seq - first
        for connection in entry.connections():
            connection.skip(entry.name, gap)
