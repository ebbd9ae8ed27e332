"""Whatever happens in whatever order: what a client has made of snapshots and updates is what the store has."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketdata.layer import BusLayer
from marketdata.layout import Layout
from marketdata.store import AsyncStore
from marketdata.topics import parse
from realtime.connection import Connection
from realtime.hub import Hub
from realtime.protocol import Position
from realtime.replays import Opening
from tests.integration.conftest import Desk, ListSink

TOPICS = ("trade.A", "quote.A", "kline.1m.A")
CLIENTS = 3

topics = st.sampled_from(TOPICS)
clients = st.integers(0, CLIENTS - 1)
steps = st.one_of(
    st.tuples(st.just("publish"), topics, st.integers(1, 30)),
    st.tuples(st.just("publish"), topics, st.integers(1, 30)),
    st.tuples(st.just("subscribe"), clients, topics, st.sampled_from([None, 200.0])),
    st.tuples(st.just("unsubscribe"), clients, topics),
    st.tuples(st.just("cut"), clients),
    st.tuples(st.just("resume"), clients),
    st.tuples(st.just("stop reading"), clients),
    st.tuples(st.just("read on"), clients),
    st.tuples(st.just("lose"), topics, st.integers(1, 3)),
    st.tuples(st.just("wipe")),
    st.tuples(st.just("wait")),
)


class Client:
    """Believes what it is told, and complains of what cannot be."""

    delay_s = 0

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.connection: Connection | None = self.connect()
        self.has: dict[str, tuple[str, int, Any]] = {}
        self.bars: dict[str, set[int]] = {}  # epoch → closed bars
        self.read_to = 0

    def connect(self) -> Connection:
        return self.desk.connect(delay_s=self.delay_s)

    @property
    def sink(self) -> ListSink:
        assert self.connection is not None
        assert isinstance(self.connection.sink, ListSink)
        return self.connection.sink

    def read(self) -> None:
        if self.connection is None:
            return
        new, self.read_to = self.sink.messages[self.read_to :], len(self.sink.messages)
        for message in new:
            getattr(self, message["type"])(message)

    def snapshot(self, message: Any) -> None:
        epoch, seq, _ = self.has.get(message["topic"], ("", 0, None))
        assert message["epoch"] != epoch or message["seq"] > seq, f"back to {message} from {epoch, seq}"
        self.has[message["topic"]] = message["epoch"], message["seq"], message["data"]

    def update(self, message: Any) -> None:
        topic, seq = message["topic"], message["seq"]
        epoch, before, _ = self.has[topic]
        assert seq == before + 1 if topic.startswith("trade") else seq > before, f"{message} after {before}"
        self.has[topic] = epoch, seq, message["data"]

    def gap(self, message: Any) -> None:
        epoch, before, data = self.has.get(message["topic"], ("", 0, None))
        if not message["topic"].startswith("trade"):
            return  # closed bars that the outbox had no room for
        if message["epoch"] != epoch:
            before = 0  # the beginning of a new epoch was lost; the snapshot follows
        assert message["from"] == before + 1, f"{message} after {epoch, before}"
        self.has[message["topic"]] = message["epoch"], message["to"], data

    async def subscribe(self, name: str, rate: float | None) -> None:
        if self.connection is None or name in self.following():
            return
        self.read()
        self.has.pop(name, None)
        await self.desk.subscribe(self.connection, name, rate=rate)

    def following(self) -> Any:
        assert self.connection is not None
        assert self.connection.cohort is not None
        return self.connection.cohort.paces

    def unsubscribe(self, name: str) -> None:
        if self.connection is not None:
            self.read()
            self.desk.hub.unsubscribe(self.connection, [name])
            self.has.pop(name, None)

    def cut(self) -> None:
        """What had arrived by now is all that it has."""
        if self.connection is not None:
            self.read()
            self.left = [*self.following()]
            self.desk.hub.detach(self.connection)
            self.connection = None

    async def resume(self) -> None:
        if self.connection is not None:
            return
        since = {name: Position(*(self.has[name][:2] if name in self.has else (None, 0))) for name in self.left}
        self.connection, self.read_to = self.connect(), 0
        hub = self.desk.hub
        await hub.replays.prepare([parse(name) for name in since], since, self.connection.delay_us)
        for pace, _ in hub.subscribe(self.connection, dict.fromkeys(since), since):
            name, opening = pace.entry.name, hub.replays.open(pace, since[pace.entry.name])
            if not opening.recovered:
                assert [item.epoch for item in opening.items] in ([], [pace.entry.epoch])
                self.begin_anew(name, opening)
            elif opening.items and opening.items[0].epoch:
                self.has.pop(name, None)
            hub.slow.replay(self.connection, opening.losses(pace.entry), [(name, opening.items)])

    def begin_anew(self, name: str, opening: Opening) -> None:
        """A position could not be recovered."""


class Run:
    """One interleaving, on a hub of its own."""

    def __init__(self, desk: Desk, clients: Sequence[Client]) -> None:
        self.desk = desk
        self.clients = clients
        self.published = 0

    async def step(self, what: str, *arguments: Any) -> None:
        await getattr(self, what.replace(" ", "_"))(*arguments)
        for client in self.clients:
            client.read()

    async def publish(self, topic: str, count: int) -> None:
        bodies = [self.body(self.published + n, closed=n % 3 == 0) for n in range(count)]
        self.published += count
        await self.desk.publish(topic, *bodies)

    def body(self, n: int, *, closed: bool) -> str:
        return json.dumps({"n": n, "closed": closed}, separators=(",", ":"))

    async def subscribe(self, client: int, topic: str, rate: float | None) -> None:
        await self.clients[client].subscribe(topic, rate)

    async def unsubscribe(self, client: int, topic: str) -> None:
        self.clients[client].unsubscribe(topic)

    async def cut(self, client: int) -> None:
        self.clients[client].cut()

    async def resume(self, client: int) -> None:
        await self.clients[client].resume()

    async def stop_reading(self, client: int) -> None:
        if (connection := self.clients[client].connection) is not None:
            self.clients[client].sink.full = True
            self.desk.hub.slow.enter(connection)

    async def read_on(self, client: int) -> None:
        if self.clients[client].connection is not None:
            self.clients[client].sink.drain()

    async def lose(self, topic: str, count: int) -> None:
        """Have the bus lose what is published next, then bring something that shows it."""
        entry = self.desk.hub.entries.get(topic)
        receivers = self.desk.hub.bus._receivers
        receive = receivers.pop(entry.channel, None) if entry is not None else None
        await self.publish(topic, count)
        await asyncio.sleep(0.01)
        if entry is not None and receive is not None:
            receivers[entry.channel] = receive
        await self.publish(topic, 1)

    async def wipe(self) -> None:
        keys = [key async for key in self.desk.store.client.scan_iter(f"{self.desk.store.layout.prefix}:*")]
        if keys:
            await self.desk.store.client.delete(*keys)

    async def wait(self) -> None:
        await asyncio.sleep(0.01)

    async def settle(self) -> None:
        """Everybody comes back, reads on, and hears of every topic once more."""
        for client in self.clients:
            await client.resume()
            client.sink.drain()
        for topic in TOPICS:
            await self.publish(topic, 1)
        latest = await self.desk.store.latest(TOPICS)
        expected = {topic: (at.epoch, at.seq, json.loads(at.body)) for topic, at in zip(TOPICS, latest, strict=True) if at}
        async with asyncio.timeout(10):
            while not all(self.agrees(client, expected) for client in self.clients):
                await self.wait()

    def agrees(self, client: Client, expected: dict[str, Any]) -> bool:
        client.read()
        return all(client.has.get(topic) == expected[topic] for topic in client.following())


async def run(redis_url: str, what: list[Any]) -> None:
    prefix = f"any-{uuid.uuid4().hex[:8]}"
    layer = BusLayer(redis_url, prefix=prefix)
    layout = Layout(prefix, history=60)
    store = AsyncStore(redis_url, layout)
    hub = Hub(await layer.bus(), store, layout, outbox_updates=20)
    try:
        desk = Desk(hub, store, layer)
        interleaving = Run(desk, [Client(desk) for _ in range(CLIENTS)])
        everybody_begins = [("subscribe", client, topic, None) for client in range(CLIENTS) for topic in TOPICS]
        for step in [*everybody_begins, *what]:
            await interleaving.step(*step)
        await interleaving.settle()
    finally:
        await hub.stop()
        await store.close()
        await layer.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(what=st.lists(steps, min_size=5, max_size=40))
def test_any_interleaving_leaves_what_a_fresh_snapshot_would(what: list[Any], redis_url: str) -> None:
    asyncio.run(run(redis_url, what))
