"""How many bytes a process handed to clients' sockets, added up from its connections when it reports.

What a connection was sent between the last report and its end is not in it: counting that would cost the data path something.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Sent(Protocol):
    """What is asked of a connection."""

    @property
    def sent_bytes(self) -> int:
        """Handed to its socket so far."""


class Traffic:
    """Of one hub.

    Attributes:
        sent_bytes: so far; it never goes back.
    """

    def __init__(self) -> None:
        self.sent_bytes = 0
        self._known: dict[str, int] = {}

    def read(self, connections: Mapping[str, Sent]) -> int:
        """Add what they were sent since they were last read; returns the sum.

        Args:
            connections: all that are open, by session.
        """
        known, before = {}, self._known
        for session, connection in connections.items():
            sent = known[session] = connection.sent_bytes
            self.sent_bytes += max(0, sent - before.get(session, 0))
        self._known = known
        return self.sent_bytes
