"""A hub on real Redis, and connections whose sinks can be looked at and be stopped."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from marketdata.layer import BusLayer
from marketdata.layout import Layout
from marketdata.store import AsyncStore, Update
from marketdata.topics import DataType, parse
from realtime import protocol
from realtime.connection import Connection
from realtime.frames import Encoding, encoding
from realtime.hub import Hub
from realtime.limits import Limits
from realtime.principal import Principal
from tests.integration.alert_parts import Installation, Webhook, webhook

_names = itertools.count()


class ListSink:
    """Takes messages into a list. While `full` it takes them too, as a transport's buffer does, but says so."""

    framed = False
    deflates = False

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.writes = 0
        self.full = False
        self.closed: tuple[int, str] | None = None
        self.on_pause: Callable[[], None] | None = None
        self.on_resume: Callable[[], None] | None = None

    def write(self, payload: Any) -> bool:
        self.writes += 1
        self.messages += [json.loads(message) for message in payload]
        if self.full and self.on_pause is not None:
            self.on_pause()
        return True

    def drain(self) -> None:
        self.full = False
        if self.on_resume is not None:
            self.on_resume()

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    def release(self) -> None:
        pass


class Desk:
    """A hub with its bus and store, and shortcuts for what a consumer does with them."""

    def __init__(self, hub: Hub, store: AsyncStore, layer: BusLayer) -> None:
        self.hub = hub
        self.store = store
        self.layer = layer

    def connect(self, served_as: Encoding | None = None, *, delay_s: int = 0) -> Connection:
        plain, who = encoding("json", framed=False), principal(delay_s) if delay_s else None
        connection = Connection(f"session-{next(_names)}", who, ListSink(), served_as or plain, opened_us=0)
        self.hub.attach(connection)
        return connection

    async def subscribe(self, connection: Connection, *names: str, rate: float | None = None) -> None:
        await self.hub.ensure([parse(name) for name in names], delay_us=connection.delay_us)
        followed = self.hub.subscribe(connection, dict.fromkeys(names, rate))
        views = [(pace.entry.name, *pace.view()) for pace, already in followed if not already]
        if snapshots := [protocol.snapshot(*view) for view in views if view[1]]:
            connection.say(*snapshots)

    async def publish(self, topic: str, *bodies: str) -> None:
        await self.store.publish([Update(topic, body.encode()) for body in bodies])

    async def until(self, condition: Callable[[], object], timeout: float = 5.0) -> None:
        async with asyncio.timeout(timeout):
            while not condition():
                await asyncio.sleep(0.002)


def principal(delay_s: int) -> Principal:
    """Somebody who sees everything so much later."""
    return Principal(None, None, "late", Limits(100, 5, None, 5.0, 20, frozenset(DataType), delay_seconds=delay_s))


def messages(connection: Connection) -> list[Any]:
    """What a connection was sent."""
    sink = connection.sink
    assert isinstance(sink, ListSink)
    return sink.messages


@pytest.fixture
async def desk(redis_url: str, prefix: str) -> AsyncIterator[Desk]:
    """A hub on a real Redis."""
    layer = BusLayer(redis_url, prefix=prefix)
    layout = Layout(prefix, history=200)
    store = AsyncStore(redis_url, layout)
    hub = Hub(await layer.bus(), store, layout, linger_s=0.0)
    yield Desk(hub, store, layer)
    await hub.stop()
    await store.close()
    await layer.close()


@pytest.fixture
def installation(redis_url: str, prefix: str) -> Iterator[Installation]:
    """An installation whose values the test sets, with an evaluator of alert rules."""
    found = Installation(redis_url, prefix)
    yield found
    found.close()


@pytest.fixture
def hook() -> Iterator[Webhook]:
    """A webhook that takes what it is sent."""
    with webhook() as found:
        yield found
