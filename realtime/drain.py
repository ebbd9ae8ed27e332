"""Taking no more connections and closing those that there are, slowly, so that their clients do not all come back at once."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence

from realtime import protocol
from realtime.codes import Close
from realtime.connection import Connection
from realtime.hub import Hub

logger = logging.getLogger(__name__)

SLICE_S = 0.1  # some connections are closed, then there is a pause of so long
RETRY_MS = (500, 5000)  # where a client is told to wait before it connects again, at random in between


class Drain:
    """Of one hub's process.

    Attributes:
        begun: no more connections are taken.
    """

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.begun = False

    async def run(self, over_s: float, hurry: Callable[[], bool] = lambda: False) -> None:
        """Close all connections within that time; at once as soon as there is no time left for it."""
        self.begun = True
        connections = list(self.hub.connections.values())
        if connections:
            logger.info("draining %d connections over %g s", len(connections), over_s)
        await _close(connections, over_s, Close.RESTART, "this server restarts; connect again", hurry)

    async def shed(self, count: int, over_s: float) -> None:
        """Close so many of the newest connections within that time, so that others take them; more may come all the while."""
        newest = sorted(self.hub.connections.values(), key=lambda each: each.opened_us, reverse=True)[:count]
        logger.info("shedding %d connections over %g s", len(newest), over_s)
        pause_s = max(SLICE_S, over_s / max(1, len(newest)))  # few are spread as widely as many: nobody waits for the end
        await _close(newest, over_s, Close.REBALANCE, "another process has more room; connect again", lambda: False, pause_s)


async def _close(
    connections: Sequence[Connection], over_s: float, code: Close, text: str, hurry: Callable[[], bool], pause_s: float = SLICE_S
) -> None:
    slices = max(1, round(over_s / pause_s))
    share = max(1, -(-len(connections) // slices))
    for at in range(0, len(connections), share):
        for connection in connections[at : at + share]:
            retry_ms = random.randint(*RETRY_MS)  # noqa: S311
            connection.close(code, protocol.notice("shutdown", text, code=code, retry_after_ms=retry_ms))
        if not hurry():
            await asyncio.sleep(pause_s)
