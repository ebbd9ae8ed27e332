"""One-time tickets: what stands in for a credential where that cannot be shown, as in a browser's handshake.

Rules of this file:
1. A ticket opens one connection: Redis gives it out and forgets it in one step, whichever node asks.
2. Redis has a digest of the ticket only. Who reads it there can use none.
3. A ticket names its credential and says what of it may be used; what that is worth is asked when the ticket is shown.
"""

from __future__ import annotations

import secrets
from functools import cache

import msgspec
import redis
from django.conf import settings

from marketdata import dial
from marketdata.reads import store_breaker
from marketdata.redis_errors import reachable
from realtime.keys import digest

LIFE_S = 30
WAIT_S = 2.0  # for Redis: whoever shows a ticket has a socket that waits
MARK = "tk_"


class Ticket(msgspec.Struct, frozen=True):
    """What a ticket stands for.

    Attributes:
        user_id, key_prefix: the credential: an API key, or without one the user's own session or signed token.
        plan: the one that a signed token named; None: the account's.
        can_publish, is_staff: whether the credential had these rights.
        expires_at_us: when the credential ends, microseconds since the epoch; None: not by the clock.
        login: of a browser session, the digest of its key, and the hash of the password that it began with.
    """

    user_id: int
    key_prefix: str | None
    plan: str | None
    can_publish: bool
    is_staff: bool
    expires_at_us: int | None
    login: tuple[str, str] | None = None


class Tickets:
    """The tickets of one installation. Safe among threads.

    Args:
        client: of the installation's Redis.
        prefix: first part of its keys.
    """

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self.client = client
        self.prefix = prefix
        self.breaker = store_breaker("tickets")
        self._read = msgspec.json.Decoder(Ticket).decode

    def issue(self, ticket: Ticket) -> str:
        """Make a ticket, good for half a minute and one connection.

        Raises:
            StoreUnavailable: Redis did not take it.
        """
        text = MARK + secrets.token_urlsafe(32)
        with self.breaker.asking(), reachable(self.client):
            self.client.set(self._key(text), msgspec.json.encode(ticket), ex=LIFE_S)
        return text

    def redeem(self, text: str) -> Ticket | None:
        """What a ticket stands for; from now on it is used. None: it was already, or is too old, or never was one.

        Raises:
            StoreUnavailable: Redis did not answer; perhaps the ticket is used.
        """
        with self.breaker.asking(), reachable(self.client):
            found = self.client.getdel(self._key(text))
        return self._read(found) if isinstance(found, bytes) else None

    def _key(self, text: str) -> str:
        return f"{self.prefix}:ticket:{digest(text)}"


def is_ticket(text: str) -> bool:
    """Whether a credential is a ticket by its form."""
    return text.startswith(MARK)


def tickets() -> Tickets:
    """Those of this installation."""
    return _tickets(settings.TICKWIRE.redis_url, settings.TICKWIRE.bus.prefix)


@cache
def _tickets(url: str, prefix: str) -> Tickets:
    return Tickets(dial.client(url, WAIT_S), prefix)
