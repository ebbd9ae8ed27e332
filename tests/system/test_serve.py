"""The serving processes: even spread, a paced drain, and sockets whose peer does not read."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import websockets

from tests.system.conftest import SERVE, Tickwire, run_server

HANDSHAKE = (
    b"GET /ws/v1/market HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
ROOMY = """
from realtime.models import Plan
Plan.objects.filter(name="anonymous").update(connections_per_user=1000, max_rate=None)
"""


@pytest.fixture
def four(redis_url: str, prefix: str, tmp_path: Path) -> Iterator[Tickwire]:
    for server in run_server(tmp_path, redis_url, prefix, [*SERVE, "--workers", "4"]):
        server.manage("shell", "-v0", "-c", ROOMY)
        time.sleep(2.1)  # plans are cached for two seconds
        yield server


def masked(text: str) -> bytes:
    """A short text frame from a client whose mask is zero."""
    payload = text.encode()
    return bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload


def deaf_client(server: Tickwire, topic: str) -> socket.socket:
    """A client that subscribes and then never reads again."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", server.port))
    client.sendall(HANDSHAKE + masked(json.dumps({"op": "subscribe", "topics": [topic]})))
    time.sleep(0.3)
    return client


async def test_connections_spread_evenly_and_a_dead_process_is_replaced(four: Tickwire) -> None:
    dials = [four.dial() for _ in range(400)]  # kept: one that is collected closes its socket
    dialled = [await dial.__aenter__() for dial in dials]
    nodes = Counter([(await client.receive())["node"] for client in dialled])
    assert len(nodes) == 4
    assert max(nodes.values()) <= 1.5 * 100
    victim = int(next(iter(nodes)).rpartition("-")[2])
    os.kill(victim, signal.SIGKILL)
    for client in dialled:
        await client.socket.close()

    async def seen() -> set[str]:
        found = set()
        for _ in range(40):
            with suppress(OSError, websockets.InvalidMessage):  # what waited in the dead process' queue dies with it
                async with four.dial() as client:
                    found.add((await client.receive())["node"])
        return found

    async with asyncio.timeout(20):
        while len(await seen()) < 4:
            await asyncio.sleep(0.2)
    assert await asyncio.to_thread(four.stop) == 0


async def test_a_deaf_client_delays_neither_the_others_nor_the_stop(own_tickwire: Tickwire) -> None:
    deaf = deaf_client(own_tickwire, "trade.AAPL")
    body = {"pad": "x" * 2000}
    async with own_tickwire.dial() as client:
        await client.ask("subscribe", topics=["trade.AAPL"], snapshot=False)
        expected = 0
        for _ in range(30):  # some 12 MB, more than any buffer on the way to the deaf one takes
            seqs = await asyncio.to_thread(own_tickwire.publish, "trade.AAPL", *[body] * 200)
            for seq in seqs:
                message = await client.until(lambda message: message["type"] in ("update", "snapshot"))
                assert message["seq"] == seq
                expected += 1
        assert expected == 6000
        began = time.monotonic()
        assert await asyncio.to_thread(own_tickwire.stop) == 0
        assert time.monotonic() - began < 1 + 5
    deaf.close()


def test_a_taken_port_is_named(own_tickwire: Tickwire) -> None:
    with pytest.raises(Exception, match="non-zero exit status") as caught:
        own_tickwire.manage("serve", "--port", str(own_tickwire.port))
    assert "cannot listen" in caught.value.stderr  # type: ignore[attr-defined]
