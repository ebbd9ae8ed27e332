"""Clients that die again and again, and all of them at once: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import Any

import pytest
import websockets

from benchmarks.load import UPDATE, Greeting, Load, frame, handshake
from marketdata.layout import Layout
from marketdata.store import Store, Update
from tests.crowd import raise_file_limit
from tests.faults.conftest import Database, serving
from tests.faults.publishing import Publishing
from tests.faults.witness import eventually
from tests.own_redis import OwnRedis
from tests.system.conftest import Tickwire

TRADES = "trade.S0000"
DEATHS = 100
LIFE_S = 0.03
AHEAD = 10  # updates within which a client without a memory acknowledges


class Mortal:
    """A client that is cut off, and resumes. What it has read is all it knows.

    Attributes:
        got: seqs of everything it received, in order.
        has: its position.
    """

    def __init__(self, server: Tickwire, *, remembers: bool) -> None:
        self.server = server
        self.remembers = remembers
        self.got: list[int] = []
        self.has: dict[str, Any] = {}
        self.session = ""
        self.recovered: list[list[str]] = []

    @asynccontextmanager
    async def life(self) -> Any:
        headers = {"Authorization": f"Bearer {self.server.planted}"}
        async with websockets.connect(self.server.socket_url, additional_headers=headers, max_queue=None) as socket:
            before, self.session = self.session, json.loads(await socket.recv())["session"]
            if before:
                positions = {"positions": {TRADES: self.has}} if self.remembers else {}
                await socket.send(json.dumps({"op": "resume", "session": before, **positions}))
            else:
                await socket.send(json.dumps({"op": "subscribe", "topics": [TRADES]}))
            listening = asyncio.create_task(self._listen(socket))
            try:
                yield
            finally:
                socket.transport.abort()
                await asyncio.gather(listening, return_exceptions=True)

    async def _listen(self, socket: websockets.ClientConnection) -> None:
        async for text in socket:
            message = json.loads(text)
            assert message["type"] not in ("error", "gap"), message
            if message["type"] == "resumed":
                self.recovered.append(message["recovered"])
            elif message["type"] in ("snapshot", "update"):
                self.got.append(message["seq"])
                self.has = {"epoch": message.get("epoch") or self.has["epoch"], "seq": message["seq"]}
                if not self.remembers and message["seq"] % AHEAD == 0:
                    await socket.send(json.dumps({"op": "ack", "positions": {TRADES: self.has}}))


async def killed_again_and_again(client: Mortal, publishing: Publishing, deaths: int) -> int:
    """Kill a client so many times, then let it catch up. Returns the seq of the last update."""
    publishing.publish()
    async with client.life():
        await eventually(lambda: client.got)
    publishing.start()
    for _ in range(deaths):
        async with client.life():
            await asyncio.sleep(LIFE_S)
    await asyncio.to_thread(publishing.stop)
    (latest,) = publishing.store.latest([TRADES])
    assert latest is not None
    async with client.life():
        await eventually(lambda: client.got[-1] == latest.seq)
    return latest.seq


async def test_a_client_that_dies_a_hundred_times_loses_nothing_and_gets_nothing_twice(
    server: Tickwire, own_redis: OwnRedis, prefix: str
) -> None:
    publishing = Publishing(Store(own_redis.url, Layout(prefix)), [TRADES], pause_s=0.001)
    client = Mortal(server, remembers=True)
    last = await killed_again_and_again(client, publishing, DEATHS)
    assert client.got == list(range(1, last + 1))
    assert client.recovered == [[TRADES]] * len(client.recovered)
    assert last > 10 * DEATHS  # it was published to all the time


async def test_a_client_without_memory_gets_everything_at_least_once(server: Tickwire, own_redis: OwnRedis, prefix: str) -> None:
    publishing = Publishing(Store(own_redis.url, Layout(prefix)), [TRADES], pause_s=0.002)
    client = Mortal(server, remembers=False)
    last = await killed_again_and_again(client, publishing, 20)
    assert sorted(set(client.got)) == list(range(1, last + 1))
    assert client.recovered == [[TRADES]] * len(client.recovered)


def storm(database: Database, redis: OwnRedis, server: Tickwire, prefix: str, clients: int, missed: int) -> None:
    """Let so many clients resume together, and count what that costs the store."""
    names = [f"trade.S000{n}" for n in range(4)]
    store = Store(redis.url, Layout(prefix))

    def publish(count: int) -> None:
        store.publish([Update(name, b'{"n":%d}' % n) for n in range(count) for name in names])

    request = handshake("/ws/v1/market", headers=[f"Authorization: Bearer {server.planted}"])
    subscribe = frame(json.dumps({"op": "subscribe", "topics": names}).encode())
    publish(1)
    before = Load(server.port, Greeting(request, lambda _: subscribe, (b'"type":"snapshot"', len(names))))
    before.connect(clients)
    server.manage("shell", "-v0", "-c", "pass")  # meanwhile the sessions were saved
    before.close()
    positions = {name: {"epoch": at.epoch, "seq": at.seq} for name, at in zip(names, store.latest(names), strict=True) if at}
    publish(missed)

    def resume(number: int) -> bytes:
        return frame(json.dumps({"op": "resume", "session": before.sessions[number], "positions": positions}).encode())

    after = Load(server.port, Greeting(request, resume, (UPDATE, len(names) * missed)))
    after.connect(clients)
    after.mark()
    publish(1)
    assert after.run_until(clients * len(names), 20.0)
    after.run(0.2)
    assert (after.updates, after.closed) == (clients * len(names), 0)
    stats = server.stats(server.planted)
    assert (stats["recovered"], stats["replayed"]) == (clients * len(names), clients * len(names) * missed)
    assert stats["replays_read"] == len(names)  # once for each topic, as all had the same position
    after.close()
    store.close()


def test_clients_that_resume_together_have_the_store_read_once(
    database: Database, server: Tickwire, own_redis: OwnRedis, prefix: str
) -> None:
    storm(database, own_redis, server, prefix, clients=300, missed=50)


@pytest.mark.faults
def test_five_thousand_clients_resume_together(database: Database, own_redis: OwnRedis, prefix: str, tmp_path: Any) -> None:
    if raise_file_limit() < 6000:
        pytest.skip("this system allows too few open files")
    with serving(database, tmp_path / "many", own_redis.url, prefix) as server:
        storm(database, own_redis, server, prefix, clients=5000, missed=20)
