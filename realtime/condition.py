"""Whether this process hears the bus: what was missed is mended when it does again, and clients are told of more than a blip.

Rules of this file:
1. An absence shorter than `BLIP_S` is mended in silence: nobody missed anything.
2. A longer one is announced as `degraded`, to newcomers, too. `restored` follows when everything that was missed is delivered,
   or announced as lost.
3. Mending goes on once at a time, however often the connection comes and goes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from realtime.announcing import Announcement

if TYPE_CHECKING:
    from realtime.hub import Hub

BLIP_S = 1.0
LOOK_S = 0.05  # how often it is asked whether all holes are mended
DEGRADED = "market data does not arrive at the moment; values are the last known"
RESTORED = "market data arrives again; what was missed has been sent, or announced as lost"


class Condition:
    """Of one hub's bus.

    Attributes:
        announcement: that the service is degraded.
    """

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.announcement = Announcement(hub)
        self._returns = 0  # of the bus
        self._healing = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def degraded(self) -> bool:
        """Whether the bus is away for longer than a blip, or what was missed is not mended yet."""
        return bool(self.announcement.standing)

    def changed(self, connected: bool) -> None:
        """The bus went, or is back."""
        if connected:
            self._returns += 1
            if not self._healing:
                self._healing = True
                self.hub.spawn(self._heal())
        elif self._timer is None and not self.degraded:
            self._timer = asyncio.get_running_loop().call_later(BLIP_S, self._degrade)

    async def _heal(self) -> None:
        healed = 0
        try:
            while healed != self._returns:
                healed, entries = self._returns, list(self.hub.entries.values())
                await self.hub.repairs.resync(entries)
                while any(entry.repairing for entry in entries):  # noqa: ASYNC110 -- many, short, and rarely any
                    await asyncio.sleep(LOOK_S)
        finally:
            self._healing = False
        if self.hub.bus.connected.is_set():
            self._restore()

    def _degrade(self) -> None:
        self._timer = None
        self.hub.counts["degraded"] += 1
        self.announcement.begin(DEGRADED)

    def _restore(self) -> None:
        self.stop()
        self.hub.joins.answers()  # who is told of the return and subscribes at once must not be refused
        if self.degraded:
            self.hub.flush()  # what was missed goes first
            self.announcement.end(RESTORED)

    def stop(self) -> None:
        """Announce no outage that has only begun."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
