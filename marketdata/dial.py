"""From an address to a Redis client, for synchronous code or for asynchronous.

Behind Sentinels a client looks up the master for each connection that it makes. Whoever learns that the master was demoted drops
the connections (`marketdata.redis_errors`); `marketdata.link` does the same for the bus.
"""

from __future__ import annotations

from typing import Any

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from marketdata.addresses import Service, is_service, service

TIMEOUT_S = 5.0
LOOK_UP_S = 1.0  # a Sentinel that takes longer is passed over for the next

_Sentinels: Any = redis.sentinel.Sentinel  # without types
_AsyncSentinels: Any = redis.asyncio.sentinel.Sentinel


def options(wait_s: float) -> dict[str, Any]:
    """How every Redis client of Tickwire is made."""
    return {"socket_timeout": wait_s, "socket_connect_timeout": wait_s, "max_connections": 1000}


def client(url: str, wait_s: float = TIMEOUT_S) -> redis.Redis:
    """A client for synchronous code, which is not connected yet and lets Redis take that long to answer.

    No retries inside the client: a publish that may have been done must not be done again behind the caller's back.
    """
    once = Retry(NoBackoff(), 0)
    if not is_service(url):
        return redis.Redis.from_url(url, retry=once, **options(wait_s))
    found = service(url)
    sentinels = _Sentinels(found.sentinels, sentinel_kwargs=_for_sentinels(found) | {"retry": once})
    master: redis.Redis = sentinels.master_for(found.name, retry=once, **_for_master(found, wait_s))
    return master


def async_client(url: str) -> redis.asyncio.Redis:
    """A client for asynchronous code, which belongs to one event loop; see `client`."""
    once = AsyncRetry(NoBackoff(), 0)
    if not is_service(url):
        return redis.asyncio.Redis.from_url(url, retry=once, **options(TIMEOUT_S))
    found = service(url)
    sentinels = _AsyncSentinels(found.sentinels, sentinel_kwargs=_for_sentinels(found) | {"retry": once})
    master: redis.asyncio.Redis = sentinels.master_for(found.name, retry=once, **_for_master(found, TIMEOUT_S))
    return master


def _for_sentinels(found: Service) -> dict[str, Any]:
    login = {"username": found.sentinel_username, "password": found.sentinel_password, "ssl": found.tls}
    return login | {"socket_timeout": LOOK_UP_S, "socket_connect_timeout": LOOK_UP_S}


def _for_master(found: Service, wait_s: float) -> dict[str, Any]:
    return {"db": found.db, "username": found.username, "password": found.password, "ssl": found.tls} | options(wait_s)
