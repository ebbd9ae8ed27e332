"""When the credential of an open socket ends: a notice in time to renew it, and the close if nobody did.

Rules of this file:
1. Only a connection whose credential ends has a timer, and never more than one.
2. The notice comes when four fifths of the time that was left have passed; the close a grace after the end.
3. The clock on the wall decides: a timer that rings early is set again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

from marketdata.store import now_us
from realtime import protocol
from realtime.codes import Close
from realtime.connection import Connection

NOTICE_AT = 0.8
LEAST_LEFT_S = 1.0  # who renews with a credential of less is not told again and again
LONGEST_S = 86_400.0  # event loops do not like timers of years


class Expiry:
    """Minds the end of one connection's credential until it is stopped.

    Args:
        connection: whose principal has an end.
        ends_us: that end, microseconds since the epoch.
        grace_s: between the end and the close.
    """

    __slots__ = ("_timer", "closes_us", "connection", "ends_us")

    def __init__(self, connection: Connection, ends_us: int, grace_s: float) -> None:
        self.connection = connection
        self.ends_us = ends_us
        self.closes_us = ends_us + int(grace_s * 1e6)
        now = now_us()
        left_us = ends_us - now
        if left_us < LEAST_LEFT_S * 1e6:
            self._at(self.closes_us, self._close)
        else:
            self._at(now + int(left_us * NOTICE_AT), self._tell)

    @classmethod
    def of(cls, connection: Connection, grace_s: float) -> Self | None:
        """What minds the credential of a connection; None: it has no end."""
        principal = connection.principal
        ends_us = principal.expires_at_us if principal is not None else None
        return cls(connection, ends_us, grace_s) if ends_us is not None else None

    def stop(self) -> None:
        """Mind it no longer: it was renewed, or the socket is gone."""
        self._timer.cancel()

    def _at(self, due_us: int, do: Callable[[], None]) -> None:
        wait_s = min(max((due_us - now_us()) / 1e6, 0.0), LONGEST_S)
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._ring, due_us, do)

    def _ring(self, due_us: int, do: Callable[[], None]) -> None:
        if due_us > now_us():
            self._at(due_us, do)
        else:
            do()

    def _tell(self) -> None:
        if not self.connection.closing:
            text = "your credential ends soon: send 'auth' with a new one"
            self.connection.say(protocol.notice("token_expiring", text))
        self._at(self.closes_us, self._close)

    def _close(self) -> None:
        text = "your credential ended, and was not renewed in time"
        self.connection.close(Close.TOKEN_EXPIRED, protocol.notice("limits", text, code=Close.TOKEN_EXPIRED))
