"""How many updates a second each topic has, read off two looks at its seq: where nobody asks nobody counts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realtime.hub import Hub

SHORT_S, OLD_S = 0.5, 10.0  # least and most between two looks


class Rates:
    """Of one hub.

    Attributes:
        rates: topic → updates a second, as of the last measurement.
    """

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.rates: dict[str, float] = {}
        self._seen: dict[str, tuple[str, int]] = {}
        self._seen_at = float("-inf")
        self._measuring = asyncio.Lock()

    async def measure(self) -> dict[str, float]:
        """Since somebody asked last, if that is neither too short nor too long ago; else over half a second from now on."""
        async with self._measuring:
            age_s = self.hub.time() - self._seen_at
            if age_s < SHORT_S:
                return self.rates
            if age_s > OLD_S:
                self._look()
                await asyncio.sleep(SHORT_S)
            before, over_s = self._seen, self.hub.time() - self._seen_at
            self._look()
            self.rates = {
                name: (seq - before[name][1]) / over_s
                for name, (epoch, seq) in self._seen.items()
                if name in before and before[name][0] == epoch
            }
            return self.rates

    def _look(self) -> None:
        self._seen = {name: (entry.epoch, entry.seq) for name, entry in self.hub.entries.items()}
        self._seen_at = self.hub.time()
