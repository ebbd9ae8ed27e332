"""What a connection was sent is known to the byte, on every way that bytes leave."""

from __future__ import annotations

from typing import Any

import pytest

from realtime import protocol
from realtime.connection import Connection
from realtime.frames import Encoding, encoding
from realtime.outbox import Item
from tests.integration.conftest import Desk, ListSink

QUOTE, TRADE = "quote.AAPL", "trade.AAPL"
WAYS = [
    encoding(), encoding("msgpack"), encoding(batch=True), encoding(deflated=True), encoding(framed=False),
    encoding("msgpack", batch=True, framed=False),
]  # fmt: skip
PAD = '{"pad":"%s"}' % ("x" * 500)


class Scales(ListSink):
    """Takes bytes and weighs them."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = 0

    def write(self, payload: Any) -> bool:
        self.writes += 1
        self.weight += len(payload) if isinstance(payload, bytes) else sum(map(len, payload))
        if self.full and self.on_pause is not None:
            self.on_pause()
        return True


def weigh(desk: Desk, served_as: Encoding) -> tuple[Connection, Scales]:
    scales = Scales()
    connection = Connection(f"weighed-{id(scales)}", None, scales, served_as, opened_us=0)
    desk.hub.attach(connection)
    return connection, scales


async def publish(desk: Desk, topic: str, count: int = 3) -> None:
    before = desk.hub.entries[topic].seq
    await desk.publish(topic, *[PAD] * count)
    entry = desk.hub.entries[topic]
    await desk.until(lambda: entry.seq == before + count and not entry.pending)


@pytest.mark.parametrize("served_as", WAYS, ids=lambda way: f"{way.kind}{'-batch' * way.batch}")
async def test_bytes_are_those_that_the_socket_got_whatever_happens(desk: Desk, served_as: Encoding) -> None:
    client, scales = weigh(desk, served_as)
    other, _ = weigh(desk, served_as)
    await desk.subscribe(other, TRADE)
    await publish(desk, TRADE)  # of which the client gets nothing
    await desk.subscribe(client, TRADE)
    await publish(desk, TRADE)
    client.say(protocol.message("pong", 1))
    await desk.subscribe(client, QUOTE)
    await publish(desk, QUOTE, 1)
    assert client.sent_bytes == scales.weight

    scales.full = True
    await publish(desk, TRADE)  # the first portion is what makes it slow
    await publish(desk, TRADE)
    await publish(desk, QUOTE, 2)
    client.say(protocol.message("pong", 2))
    assert client.sent_bytes == scales.weight
    desk.hub.unsubscribe(client, [QUOTE])
    await publish(desk, TRADE)
    scales.drain()
    await publish(desk, TRADE)
    desk.hub.slow.replay(client, [protocol.message("resumed", 3)], [(TRADE, [Item(1, PAD.encode())] * 200)])
    assert client.outbox is None
    assert client.sent_bytes == scales.weight

    desk.hub.serve_as(client, encoding("msgpack", framed=served_as.framed))
    await publish(desk, TRADE)
    desk.hub.detach(client)
    weight = scales.weight
    await publish(desk, TRADE)
    assert client.sent_bytes == scales.weight == weight > 0


async def test_messages_are_those_that_the_socket_got(desk: Desk) -> None:
    client = desk.connect()
    assert isinstance(client.sink, ListSink)
    await desk.subscribe(client, QUOTE)
    client.sink.full = True
    for _ in range(5):
        await publish(desk, QUOTE, 1)
    client.say(protocol.message("pong", 1))
    client.sink.drain()
    await publish(desk, QUOTE, 1)
    desk.hub.detach(client)
    assert client.messages == len(client.sink.messages) == 4  # three of the five values were replaced
    assert client.sent == 6
