"""A state that clients are told of: when it begins, when they come in meanwhile, and when it is over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from realtime import protocol

if TYPE_CHECKING:
    from realtime.hub import Hub

TOLD_AT_ONCE = 200  # connections, before the loop may do something else


class Announcement:
    """Something about the service that all clients of a hub are told.

    Attributes:
        standing: what newcomers are told besides the welcome.
    """

    def __init__(self, hub: Hub) -> None:
        self.standing: list[bytes] = []
        self._hub = hub
        self._telling = asyncio.Lock()

    def begin(self, text: str) -> None:
        """Tell everybody `degraded`."""
        self.standing = [protocol.notice("degraded", text)]
        self._hub.spawn(self._tell(*self.standing))

    def end(self, text: str) -> None:
        """Tell everybody `restored`."""
        self.standing = []
        self._hub.spawn(self._tell(protocol.notice("restored", text)))

    async def _tell(self, message: bytes) -> None:
        async with self._telling:  # in the order in which it happened
            for number, connection in enumerate(list(self._hub.connections.values()), 1):
                if not connection.closing:
                    connection.say(message)
                if number % TOLD_AT_ONCE == 0:
                    await asyncio.sleep(0)
