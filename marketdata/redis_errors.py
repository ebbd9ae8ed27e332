"""What went wrong with Redis, in the domain's words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import redis
import redis.asyncio
from redis.exceptions import BusyLoadingError, MasterDownError, OutOfMemoryError, ReadOnlyError, RedisError

from marketdata.errors import StoreRefused, StoreUnavailable

_READ_ONLY = "it is a replica"
_CUT_OFF = "too few replicas follow it"
_REFUSALS: dict[type[RedisError] | str, str] = {
    OutOfMemoryError: "it has no memory left",
    "OOM command not allowed": "it has no memory left",  # inside the message of a script that met it
    ReadOnlyError: _READ_ONLY,
    "READONLY You can't": _READ_ONLY,
    "NOREPLICAS": _CUT_OFF,  # where `min-replicas-to-write` is set
    "MISCONF": "it cannot write to its disk",
}


@contextmanager
def reachable(client: redis.Redis | None = None) -> Iterator[None]:
    """Whatever goes wrong with Redis inside is raised as `StoreUnavailable`, or `StoreRefused`.

    Args:
        client: the one that is used inside. Where a server answers that is not, or not yet, the one to talk to, its
            connections are dropped, so that the next ones may lead to another server.
    """
    try:
        yield
    except (RedisError, OSError) as error:
        if client is not None and _misplaced(error):
            client.connection_pool.disconnect(inuse_connections=False)
        raise _said(error) from error


@asynccontextmanager
async def areachable(client: redis.asyncio.Redis) -> AsyncIterator[None]:
    """The same around an asynchronous client."""
    try:
        yield
    except (RedisError, OSError) as error:
        if _misplaced(error):
            with suppress(RedisError, OSError):
                await client.connection_pool.disconnect(inuse_connections=False)
        raise _said(error) from error


def _said(error: Exception) -> StoreUnavailable:
    if refusal := _refusal(error):
        return StoreRefused(f"Redis takes nothing: {refusal}")
    return StoreUnavailable(f"Redis: {error or type(error).__name__}")


def _refusal(error: Any) -> str | None:
    text = str(error)
    matches = (why for sign, why in _REFUSALS.items() if (sign in text if isinstance(sign, str) else isinstance(error, sign)))
    return next(matches, None)


def _misplaced(error: Exception) -> bool:
    """A master that was demoted, or perhaps will be, or a server that still reads its data in."""
    return isinstance(error, (BusyLoadingError, MasterDownError)) or _refusal(error) in (_READ_ONLY, _CUT_OFF)
