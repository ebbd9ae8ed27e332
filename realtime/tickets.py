"""One-time tickets: what stands in for a credential where that cannot be shown, as in a browser's handshake.

Rules of this file:
1. A ticket opens one connection: Redis gives it out and forgets it in one step, whichever node asks.
2. Redis has a digest of the ticket only. Who reads it there can use none, nor learn the session key that it may stand for: that
   is masked by the ticket itself.
3. A ticket names its credential and says what of it may be used; what that is worth is asked when the ticket is shown.
"""

from __future__ import annotations

import hashlib
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
        login: of a browser session, its key, and the hash of the password that it began with.
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
            self.client.set(self._key(text), msgspec.json.encode(_masked(ticket, text)), ex=LIFE_S)
        return text

    def redeem(self, text: str) -> Ticket | None:
        """What a ticket stands for; from now on it is used. None: it was already, or is too old, or never was one.

        Raises:
            StoreUnavailable: Redis did not answer; perhaps the ticket is used.
        """
        with self.breaker.asking(), reachable(self.client):
            found = self.client.getdel(self._key(text))
        return _masked(self._read(found), text) if isinstance(found, bytes) else None

    def _key(self, text: str) -> str:
        return f"{self.prefix}:ticket:{digest(text)}"


def _masked(ticket: Ticket, text: str) -> Ticket:
    """A ticket with its session key masked, or with a masked one plain: by bytes that only who has the ticket can make.

    Every ticket is another 256 random bits, so that these bytes are never used again.
    """
    if ticket.login is None:
        return ticket
    key = ticket.login[0].encode("latin-1")
    mask = hashlib.shake_256(f"session key of {text}".encode()).digest(len(key))
    masked = bytes(one ^ other for one, other in zip(key, mask, strict=True))
    return msgspec.structs.replace(ticket, login=(masked.decode("latin-1"), ticket.login[1]))


def is_ticket(text: str) -> bool:
    """Whether a credential is a ticket by its form."""
    return text.startswith(MARK)


def tickets() -> Tickets:
    """Those of this installation."""
    return _tickets(settings.TICKWIRE.redis_url, settings.TICKWIRE.bus.prefix)


@cache
def _tickets(url: str, prefix: str) -> Tickets:
    return Tickets(dial.client(url, WAIT_S), prefix)
