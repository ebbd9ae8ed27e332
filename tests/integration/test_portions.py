"""A socket that cannot keep up gets what it is owed in portions, and control between them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from realtime.connection import Connection
from tests.integration.conftest import Desk, ListSink, messages

TRADE, QUOTE = "trade.AAPL", "quote.AAPL"
BODY = json.dumps({"pad": "x" * 1000})
PONG = b'{"type":"pong"}'


async def owing(desk: Desk, updates: int) -> tuple[Connection, ListSink]:
    """A connection whose socket is full at every write, and which is owed so many trades of a kilobyte."""
    connection = desk.connect()
    sink = connection.sink
    assert isinstance(sink, ListSink)
    await desk.publish(TRADE, "{}")
    await desk.publish(QUOTE, "{}")
    await desk.subscribe(connection, TRADE, QUOTE)
    sink.full = True
    await desk.publish(TRADE, "{}")
    await desk.until(lambda: connection.outbox is not None)
    await desk.publish(TRADE, *[BODY] * updates)
    await desk.until(lambda: desk.hub.entries[TRADE].seq == updates + 2 and not desk.hub.entries[TRADE].pending)
    sink.messages.clear()
    return connection, sink


def turns(connection: Connection, sink: ListSink) -> Iterator[list[Any]]:
    """What each write brings while the socket drains a little and is full again."""
    while connection.outbox is not None and len(connection.outbox):
        sink.messages.clear()
        assert sink.on_resume is not None
        sink.on_resume()
        yield list(messages(connection))


async def test_a_full_socket_is_given_a_portion_and_stays_owed_the_rest(desk: Desk) -> None:
    connection, sink = await owing(desk, 150)
    first = next(turns(connection, sink))
    assert 0 < sum(len(json.dumps(message)) for message in first) < 64 * 1024
    assert connection.outbox is not None
    assert len(connection.outbox) == 150 - len(first)


async def test_a_pong_overtakes_what_a_full_socket_is_owed(desk: Desk) -> None:
    connection, sink = await owing(desk, 150)
    writes = turns(connection, sink)
    next(writes)
    connection.say(PONG)
    assert next(writes)[0] == {"type": "pong"}


async def test_portions_bring_everything_in_order_and_the_socket_is_fast_again(desk: Desk) -> None:
    connection, sink = await owing(desk, 150)
    got = [message["seq"] for write in turns(connection, sink) for message in write]
    assert got == list(range(3, 153))
    sink.drain()
    assert (connection.outbox, len(desk.hub.slow)) == (None, 0)


async def test_what_came_since_waits_behind_the_round_that_is_going_out(desk: Desk) -> None:
    connection, sink = await owing(desk, 150)
    await desk.publish(QUOTE, '{"n":1}')
    await desk.until(lambda: connection.outbox is not None and len(connection.outbox) == 151)
    writes = turns(connection, sink)
    got = list(next(writes))
    await desk.publish(TRADE, *[BODY] * 10)
    await desk.until(lambda: desk.hub.entries[TRADE].seq == 162 and not desk.hub.entries[TRADE].pending)
    got += [message for write in writes for message in write]
    assert [message["seq"] for message in got if message["topic"] == TRADE] == list(range(3, 163))
    assert [message["topic"] for message in got].index(QUOTE) == 150


async def test_a_hole_of_the_bus_is_announced_behind_what_came_before_it(desk: Desk) -> None:
    connection, sink = await owing(desk, 2)
    entry = desk.hub.entries[TRADE]
    desk.hub.deliver(entry, entry.epoch, entry.seq + 5, b"{}")  # what lies between exists nowhere
    await desk.until(lambda: connection.outbox is not None and len(connection.outbox) == 4)
    got = [(message["type"], message.get("seq", message.get("from"))) for write in turns(connection, sink) for message in write]
    assert got == [("update", 3), ("update", 4), ("gap", 5), ("update", 9)]


async def test_conflated_values_and_gaps_are_counted_once(desk: Desk) -> None:
    connection, sink = await owing(desk, 300)  # the outbox takes 256 of a topic
    list(turns(connection, sink))
    assert (connection.gaps, desk.hub.counts["gaps"]) == (1, 1)
