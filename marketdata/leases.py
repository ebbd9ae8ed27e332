"""Who may do a thing alone, for a while, and what he noted for the next.

Rules of this file:
1. A lease ends by itself: whoever died holding it holds up the others for its time to live and no longer.
2. Only the holder gives a lease back, renews it, or changes the note: one that outlived its time changes nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from marketdata.redis_errors import reachable
from marketdata.store import Store

# Both: KEYS[1] the lease, ARGV[1] the holder's token.
_GIVE_BACK = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2])
return redis.call('DEL', KEYS[1])
"""
_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""


class Lease(NamedTuple):
    """The right to do a thing.

    Attributes:
        name: the thing.
        token: tells this holder from an earlier or later one.
        note: what the last holder noted; empty at first.
    """

    name: str
    token: str
    note: str


class Leases:
    """Leases in Redis. Safe among threads, processes and nodes. Every method raises `StoreUnavailable` when Redis is away."""

    def __init__(self, store: Store) -> None:
        self._redis = store.client
        self._prefix = f"{store.layout.prefix}:lease:"
        self._give_back = self._redis.register_script(_GIVE_BACK)
        self._renew = self._redis.register_script(_RENEW)

    @classmethod
    def from_settings(cls) -> Self:
        """The leases of this installation."""
        return cls(Store.from_settings())

    def take(self, name: str, ttl_ms: int) -> Lease | None:
        """Take the lease; None while somebody has it.

        Args:
            name: of the thing to be done alone.
            ttl_ms: after which somebody else may have it, unless it is renewed.
        """
        token = secrets.token_hex(8)
        with reachable(), self._redis.pipeline(transaction=True) as pipe:
            pipe.set(self._key(name), token, nx=True, px=ttl_ms)
            pipe.get(self._note_key(name))
            taken, note = pipe.execute()
        return Lease(name, token, (note or b"").decode()) if taken else None

    def renew(self, lease: Lease, ttl_ms: int) -> bool:
        """Hold on for `ttl_ms` from now; False when the lease was lost."""
        with reachable():
            return bool(self._renew([self._key(lease.name)], [lease.token, ttl_ms]))

    def give_back(self, lease: Lease, note: str) -> bool:
        """Note something for the next holder and end the lease; False, and nothing done, when the lease was lost."""
        with reachable():
            return bool(self._give_back([self._key(lease.name), self._note_key(lease.name)], [lease.token, note]))

    def notes(self, names: Sequence[str]) -> list[str]:
        """What the last holders noted, in one round trip; empty where nobody did."""
        with reachable():
            found: list[Any] = self._redis.mget([self._note_key(name) for name in names])
        return [(note or b"").decode() for note in found]

    def _key(self, name: str) -> str:
        return self._prefix + name

    def _note_key(self, name: str) -> str:
        return f"{self._prefix}{name}:note"
