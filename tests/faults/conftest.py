"""A Redis that a test may break, the shipped server on it, clients connected throughout, and a publisher that never rests."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from marketdata.errors import StoreUnavailable
from marketdata.layout import Layout
from marketdata.store import Store
from tests.crowd import SETUP
from tests.faults.publishing import Publishing
from tests.faults.witness import Witness, eventually, watching
from tests.own_redis import OwnRedis
from tests.system.conftest import SERVE, Tickwire

TOPICS = ["trade.S0000", "trade.S0001", "quote.S0000", "quote.S0001"]
WAYS = ["", "?batch=1"]


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    """A Redis of this test alone, started and without anything in it."""
    found = OwnRedis(tmp_path / "redis")
    found.start()
    yield found
    found.kill()


class Database(NamedTuple):
    """A database of instruments S0000 to S0003, and the key of a member of staff whose plan limits nothing."""

    folder: Path
    key: str


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    """Made once; each server gets a copy."""
    folder = tmp_path_factory.mktemp("database")
    maker = Tickwire(folder, "unix:///nowhere", "nobody", [])
    maker.manage("migrate", "-v0")
    return Database(folder, maker.manage("shell", "-v0", "-c", SETUP.format(symbols=4)))


@contextmanager
def serving(database: Database, folder: Path, redis_url: str, prefix: str, **settings: str) -> Iterator[Tickwire]:
    """The shipped server; `planted` is a key that it knows."""
    shutil.copytree(database.folder, folder)
    server = Tickwire(folder, redis_url, prefix, SERVE, **settings)
    server.planted = database.key
    with server.running():
        yield server


@pytest.fixture
def server(database: Database, own_redis: OwnRedis, prefix: str, tmp_path: Path) -> Iterator[Tickwire]:
    """The shipped server on `own_redis`."""
    with serving(database, tmp_path / "server", own_redis.url, prefix) as found:
        yield found


class Scene:
    """A server with a publisher and clients, all of which go on while a test breaks something.

    Attributes:
        store: as the publisher reads and writes it.
    """

    def __init__(self, server: Tickwire, publishing: Publishing, clients: Sequence[Witness]) -> None:
        self.server = server
        self.publishing = publishing
        self.clients = clients
        self.store = publishing.store

    async def flows(self, updates: int = 100) -> None:
        """Wait until so many more updates were confirmed, and each client got something newer of every topic."""
        before = self.publishing.counted()
        seen = {id(tape): tape.n for client in self.clients for tape in client.tapes.values()}
        await eventually(lambda: self.publishing.counted() >= before + updates)
        await eventually(lambda: all(tape.n > seen[id(tape)] for client in self.clients for tape in client.tapes.values()))

    async def told(self, kind: str) -> None:
        """Wait until every client was told."""
        await eventually(lambda: all(kind in client.notices for client in self.clients))

    async def settle(self) -> None:
        """End the publishing, and wait until every client has what the store has."""
        await asyncio.to_thread(self.publishing.stop)
        await eventually(lambda: all(client_state(client) == self.stored() for client in self.clients))

    def stored(self) -> dict[str, tuple[str, int, int]]:
        """The store's last word on each topic: epoch, seq, number."""
        try:
            latest = self.store.latest(self.publishing.topics)
        except StoreUnavailable:
            return {}
        found = zip(self.publishing.topics, latest, strict=True)
        return {topic: (it.epoch, it.seq, msgspec.json.decode(it.body)["n"]) for topic, it in found if it is not None}

    async def nothing_was_lost_in_silence(self, *, epochs: int = 1) -> None:
        """The promises of the protocol, over all that every client got; `epochs`: how many lives of the store it saw."""
        await self.settle()
        for client in self.clients:
            assert client.faults == []
            for tape in client.tapes.values():
                missing = tape.unexplained(self.publishing.confirmed[tape.topic])
                assert len(tape.epochs) == epochs, tape
                assert not tape.every or len(missing) <= tape.lost, (tape.topic, missing, tape.gaps)
                assert not tape.every or tape.counted == tape.published, tape


def client_state(client: Witness) -> dict[str, tuple[str, int, int]]:
    """A client's last word on each topic: epoch, seq, number."""
    return {tape.topic: (tape.epoch, tape.seq, tape.n) for tape in client.tapes.values()}


@asynccontextmanager
async def playing(server: Tickwire, redis_url: str, prefix: str, topics: Sequence[str] = TOPICS) -> AsyncIterator[Scene]:
    """A scene on a running server: the publisher publishes, and two clients follow every topic."""
    store = Store(redis_url, Layout(prefix))
    publishing = Publishing(store, topics)
    publishing.publish()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(watching(server, topics, way)) for way in WAYS]
        publishing.start()
        scene = Scene(server, publishing, clients)
        try:
            await scene.flows(20)
            yield scene
        finally:
            publishing.end()
            store.close()


@pytest.fixture
async def scene(server: Tickwire, own_redis: OwnRedis, prefix: str) -> AsyncIterator[Scene]:
    """A scene on `own_redis`."""
    async with playing(server, own_redis.url, prefix) as found:
        yield found
