"""A tick that goes round through the broker and proves delivery."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from marketdata.errors import StoreUnavailable
from marketdata.kept import KeptTask
from marketdata.layer import pack, unpack
from marketdata.topics import redis_channel

if TYPE_CHECKING:
    from realtime.node import Node

logger = logging.getLogger(__name__)

EVERY_S = 1.0
FRESH_S = 5.0


class Canary:
    """Sends a message to itself through the bus once a second.

    Attributes:
        began_at: loop time at which it was first sent.
        back_at: loop time at which the last one came back; None before the first.
        latency_s: how long that one took.
        task: what sends it.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.channel = redis_channel(node.hub.layout.prefix, f"tw.canary.{node.name}").encode()
        self.began_at = asyncio.get_running_loop().time()
        self.back_at: float | None = None
        self.latency_s = 0.0
        self.task = KeptTask("canary", self._run, logger)
        self.task.start()

    @property
    def age_s(self) -> float | None:
        """Seconds since the last one came back; None: none ever did."""
        return None if self.back_at is None else asyncio.get_running_loop().time() - self.back_at

    @property
    def alive(self) -> bool:
        """One came back lately."""
        age = self.age_s
        return age is not None and age <= FRESH_S

    async def _run(self) -> None:
        bus, following = self.node.hub.bus, False
        while True:
            try:
                if not following:
                    await bus.follow({self.channel: self._back})
                    following = True
                sent_at = time.perf_counter()  # the loop's clock counts milliseconds
                await bus.publish(self.channel.decode(), pack({"type": "canary", "sent": sent_at}))
            except StoreUnavailable:
                pass  # its age says so
            await asyncio.sleep(EVERY_S)

    def _back(self, message: bytes) -> None:
        self.back_at = asyncio.get_running_loop().time()
        self.latency_s = time.perf_counter() - unpack(message)["sent"]  # of this one: others may be under way

    async def stop(self) -> None:
        """Stop sending."""
        await self.task.stop()
