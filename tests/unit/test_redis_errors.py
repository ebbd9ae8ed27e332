"""What Redis says, in the domain's words; and whose connections are dropped for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from redis import exceptions

from marketdata.errors import StoreRefused, StoreUnavailable
from marketdata.redis_errors import areachable, reachable

SCRIPT = "ERR Error running script (call to f_0): @user_script:9: -"

OUTAGES = [
    exceptions.ConnectionError("gone"),
    exceptions.TimeoutError("slow"),
    OSError("broken pipe"),
    exceptions.ResponseError("ERR"),
]
FULL = [
    exceptions.OutOfMemoryError("command not allowed"),
    exceptions.ResponseError(f"{SCRIPT}OOM command not allowed when used memory > 'maxmemory'."),
    exceptions.ResponseError(
        "MISCONF Redis is configured to save RDB snapshots, but it is currently not able to persist on disk."
    ),
]
REPLICAS = [
    exceptions.ReadOnlyError("You can't write against a read only replica."),
    exceptions.ResponseError(f"{SCRIPT}READONLY You can't write against a read only replica."),
    exceptions.ResponseError(f"{SCRIPT}NOREPLICAS Not enough good replicas to write."),
]
NOT_YET = [exceptions.BusyLoadingError("Redis is loading the dataset in memory"), exceptions.MasterDownError("Link is down")]


class Pool:
    """Counts how often its idle connections were dropped."""

    def __init__(self) -> None:
        self.dropped = 0

    def disconnect(self, *, inuse_connections: bool) -> None:
        assert not inuse_connections
        self.dropped += 1


class AsyncPool(Pool):
    async def disconnect(self, *, inuse_connections: bool) -> None:  # type: ignore[override]
        super().disconnect(inuse_connections=inuse_connections)


async def raised(error: Exception) -> tuple[type[Exception], int]:
    """As what an error is raised, and how often connections were dropped; the same from both kinds of code."""
    pool, apool = Pool(), AsyncPool()
    client, aclient = (SimpleNamespace(connection_pool=one) for one in (pool, apool))
    found: list[Any] = []
    with pytest.raises(StoreUnavailable) as caught, reachable(client):  # type: ignore[arg-type]
        raise error
    found.append((type(caught.value), pool.dropped))
    with pytest.raises(StoreUnavailable) as caught:
        async with areachable(aclient):  # type: ignore[arg-type]
            raise error
    found.append((type(caught.value), apool.dropped))
    assert found[0] == found[1]
    return found[0]


@pytest.mark.parametrize("error", OUTAGES, ids=repr)
async def test_a_redis_that_is_away_is_an_outage(error: Exception) -> None:
    assert await raised(error) == (StoreUnavailable, 0)


@pytest.mark.parametrize("error", FULL, ids=repr)
async def test_a_redis_that_takes_nothing_refuses(error: Exception) -> None:
    assert await raised(error) == (StoreRefused, 0)


@pytest.mark.parametrize("error", REPLICAS, ids=repr)
async def test_a_demoted_master_refuses_and_is_left(error: Exception) -> None:
    assert await raised(error) == (StoreRefused, 1)


@pytest.mark.parametrize("error", NOT_YET, ids=repr)
async def test_a_redis_that_is_not_ready_is_an_outage_and_is_left(error: Exception) -> None:
    assert await raised(error) == (StoreUnavailable, 1)


def test_other_errors_go_through() -> None:
    with pytest.raises(ZeroDivisionError), reachable():
        raise ZeroDivisionError
