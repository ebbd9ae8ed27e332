"""What a flush costs, counted; and a flush that fails."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from realtime import frames
from realtime.connection import Connection
from realtime.frames import encoding
from tests.integration.conftest import Desk, ListSink, messages

TRADE, QUOTE = "trade.AAPL", "quote.AAPL"
BODY = '{"pad":"' + "x" * 400 + '"}'
KINDS = [
    encoding("json"), encoding("json", deflated=True), encoding("json", batch=True), encoding("json", batch=True, deflated=True),
    encoding("msgpack"), encoding("msgpack", deflated=True), encoding("msgpack", batch=True),
]  # fmt: skip


class WireSink(ListSink):
    """Takes frames."""

    framed = True

    def write(self, payload: Any) -> bool:
        self.writes += 1
        self.messages.append(payload)
        return True


class BrokenSink(ListSink):
    """Cannot be written to any more, and says so in the one way that a sink must not."""

    def write(self, payload: Any) -> bool:
        raise RuntimeError("broken")


async def test_an_update_is_encoded_once_per_kind_and_deflated_once_for_all(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    deflated: list[bytes] = []
    once = frames.deflate
    monkeypatch.setattr(frames, "deflate", lambda payload: (deflated.append(payload), once(payload))[1])
    clients: list[Connection] = []
    for served_as in KINDS * 5:
        client = desk.connect(served_as)
        client.sink = WireSink()
        await desk.subscribe(client, TRADE)
        clients.append(client)
    await desk.publish(TRADE, BODY)  # the first is a snapshot, like that of a new epoch
    await desk.until(lambda: desk.hub.counts["delivered"] == len(clients))
    kinds = {served_as.kind for served_as in KINDS}
    assert len(kinds) == 6
    assert desk.hub.counts["encodes"] == len(kinds)
    assert len(deflated) == 3  # JSON, MessagePack, and the array, which is joined for its cohort
    assert desk.hub.counts["writes"] == len(clients)
    for at, served_as in enumerate(KINDS):
        alike = clients[at :: len(KINDS)]
        assert all(client.encoding is served_as for client in alike)
        assert len({id(messages(client)[0]) for client in alike}) == 1  # the very same bytes


async def test_a_flush_that_fails_does_not_end_delivery(desk: Desk) -> None:
    broken, client = desk.connect(), desk.connect()
    loop = asyncio.get_running_loop()
    failures: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: failures.append(context))
    await desk.subscribe(broken, QUOTE)
    await desk.subscribe(client, TRADE)
    broken.sink = BrokenSink()
    await desk.publish(QUOTE, "{}")
    await desk.until(lambda: failures)
    loop.set_exception_handler(None)
    desk.hub.detach(broken)
    await desk.publish(TRADE, "{}")
    await desk.until(lambda: messages(client))


async def test_what_comes_during_a_flush_leaves_with_the_next(desk: Desk) -> None:
    client = desk.connect()
    await desk.subscribe(client, TRADE)
    entry = desk.hub.entries[TRADE]
    await desk.publish(TRADE, "{}")
    await desk.until(lambda: desk.hub.counts["flushes"] and messages(client))
    desk.hub.flush()  # its end is still to come
    desk.hub.deliver(entry, entry.epoch, entry.seq + 1, b"{}")
    await desk.until(lambda: len(messages(client)) == 2)
