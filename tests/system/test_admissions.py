"""Three serving processes, one limit: over all of them, when one is killed, and when Redis goes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
import websockets

from tests.own_redis import OwnRedis
from tests.system.conftest import SERVE, Client, Tickwire, run_server

LIMIT, LEASE_S = 3, 2
PLANT = """
from realtime.models import Plan
Plan.objects.filter(name="anonymous").update(connections_per_user={limit}, connection_policy="{policy}")
"""


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    server = OwnRedis(tmp_path / "redis")
    server.start()
    yield server
    server.kill()


def three(tmp_path: Path, own_redis: OwnRedis, policy: str) -> Iterator[Tickwire]:
    command, plant = [*SERVE, "--workers", "3"], PLANT.format(limit=LIMIT, policy=policy)
    lease = {"TICKWIRE_CONNECTION_LEASE_SECONDS": str(LEASE_S)}
    yield from run_server(tmp_path, own_redis.url, "admissions", command, plant=plant, **lease)


@pytest.fixture
def server(tmp_path: Path, own_redis: OwnRedis) -> Iterator[Tickwire]:
    yield from three(tmp_path, own_redis, "reject")


@pytest.fixture
def yielding(tmp_path: Path, own_redis: OwnRedis) -> Iterator[Tickwire]:
    yield from three(tmp_path, own_redis, "take_over")


class Dialler:
    """Connects, and keeps what was welcomed.

    Attributes:
        live: clients that were, the oldest first, with the node that did it.
        ends: how the others were closed.
    """

    def __init__(self, server: Tickwire, stack: AsyncExitStack) -> None:
        self.live: list[tuple[Client, str]] = []
        self.ends: list[tuple[int, str]] = []
        self._server, self._stack = server, stack

    async def dial(self, count: int = 1) -> None:
        await asyncio.gather(*(self._dial() for _ in range(count)))

    async def _dial(self) -> None:
        with suppress(OSError, websockets.InvalidMessage):  # what waited in a killed process' queue dies with it
            client = await self._stack.enter_async_context(self._server.dial())
            first = await client.receive()
            if first["type"] == "welcome":
                self.live.append((client, first["node"]))
            else:
                self.ends.append(await client.closed())

    def still_open(self) -> list[Client]:
        """Those that are live and were not closed since."""
        return [client for client, _ in self.live if client.socket.close_code is None]

    async def until_live(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.live) < count:
                await self.dial()
                await asyncio.sleep(0.1)


@pytest.fixture
async def crowd(server: Tickwire) -> AsyncIterator[Dialler]:
    async with AsyncExitStack() as stack:
        yield Dialler(server, stack)


async def test_of_ten_dials_at_once_the_limit_is_welcomed_and_a_killed_process_gives_its_places_back(crowd: Dialler) -> None:
    await crowd.dial(10)
    assert len(crowd.live) == LIMIT
    assert crowd.ends == [(4504, "connection_limit")] * 7

    victim = crowd.live[0][1]
    os.kill(int(victim.rpartition("-")[2]), signal.SIGKILL)
    crowd.live = [each for each in crowd.live if each[1] != victim]
    await crowd.until_live(LIMIT)
    crowd.ends.clear()
    await crowd.dial(3)
    assert (len(crowd.live), crowd.ends) == (LIMIT, [(4504, "connection_limit")] * 3)


async def test_a_process_that_stood_still_gives_up_the_places_that_others_took(crowd: Dialler) -> None:
    await crowd.dial(LIMIT)
    victim = crowd.live[0][1]
    held = sum(node == victim for _, node in crowd.live)
    os.kill(int(victim.rpartition("-")[2]), signal.SIGSTOP)
    try:
        async with asyncio.timeout(90):
            while len(crowd.live) < LIMIT + held:
                await crowd.dial(3)  # what waits in the queue of the one that stands still gets nothing
    finally:
        os.kill(int(victim.rpartition("-")[2]), signal.SIGCONT)
    async with asyncio.timeout(30):
        while len(crowd.still_open()) > LIMIT:
            await asyncio.sleep(0.05)
    crowd.ends.clear()
    async with asyncio.timeout(60):
        while not crowd.ends:  # after such a pause its loop was late, and for a while it answers visitors with 503
            with suppress(websockets.InvalidStatus):
                await crowd.dial()
    assert (len(crowd.still_open()), crowd.ends) == (LIMIT, [(4504, "connection_limit")])


async def test_the_newest_takes_the_place_of_the_oldest_whichever_process_has_it(yielding: Tickwire) -> None:
    async with AsyncExitStack() as stack:
        crowd = Dialler(yielding, stack)
        for _ in range(9):
            await crowd.dial()
            if len(crowd.live) > LIMIT:
                oldest, _ = crowd.live.pop(0)
                notice = await oldest.until(lambda message: message.get("code") == 4505)
                assert (notice["type"], notice["kind"]) == ("notice", "limits")
                assert await oldest.closed() == (4505, "taken_over")
        assert len(crowd.live) == LIMIT


async def test_with_redis_away_clients_are_served_and_counted_again_when_it_is_back(crowd: Dialler, own_redis: OwnRedis) -> None:
    await crowd.dial(LIMIT - 1)
    own_redis.kill()
    nodes = {node for _, node in crowd.live}
    async with asyncio.timeout(30):
        while len(crowd.live) < LIMIT or not {node for _, node in crowd.live} - nodes:
            await crowd.dial()  # another process does not know of the first two
    own_redis.start()
    async with asyncio.timeout(30):
        while counted(own_redis) != len(crowd.live):
            await asyncio.sleep(0.1)
    crowd.ends.clear()
    await crowd.dial(9)
    assert crowd.ends == [(4504, "connection_limit")] * 9
    assert all([(await client.ask("ping"))["type"] == "pong" for client, _ in crowd.live])


def counted(own_redis: OwnRedis) -> int:
    """How many connections Redis knows of."""
    return sum(own_redis.ask("ZCARD", key) for key in own_redis.ask("KEYS", "admissions:held:*"))
