"""What the hub has of topics right now, for threads that ask: REST, while Redis is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import TimeoutError as Late
from typing import TYPE_CHECKING

from marketdata.store import Stamped

if TYPE_CHECKING:
    from realtime.hub import Hub

logger = logging.getLogger(__name__)

WAIT_S = 1.0


class Standing:
    """Reads one hub's entries where they change, in its event loop, so that epoch, seq and body belong together."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._loop = asyncio.get_running_loop()

    def __call__(self, topics: Sequence[str]) -> dict[str, Stamped]:
        """The newest update of those topics that the hub follows, asked from any thread but the hub's own."""
        entries = self.hub.entries
        known = [topic for topic in topics if (entry := entries.get(topic)) is not None and entry.seq]
        if not known or not self._loop.is_running():
            return {}
        asked = asyncio.run_coroutine_threadsafe(self._read(known), self._loop)
        try:
            return asked.result(WAIT_S)
        except (Late, RuntimeError):
            logger.warning("the hub did not say in time what it has")
            return {}

    async def _read(self, topics: Sequence[str]) -> dict[str, Stamped]:
        found = ((topic, self.hub.entries.get(topic)) for topic in topics)
        return {
            topic: Stamped(entry.epoch, entry.seq, entry.changed_us, entry.body)
            for topic, entry in found
            if entry is not None and entry.seq
        }
