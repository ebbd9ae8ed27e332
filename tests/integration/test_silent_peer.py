"""A peer that reads, but answers no ping: uvicorn's timer ends it, and it is told why."""

from __future__ import annotations

import asyncio
import socket

import pytest
import uvicorn

from realtime.consumers import MarketConsumer
from realtime.sinks import FramesProtocol

HANDSHAKE = (
    b"GET /ws/v1/market HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.mark.django_db(transaction=True)
async def test_a_peer_that_answers_no_ping_is_told_so_and_closed_with_4003(redis_url: str) -> None:
    often = {"ws_ping_interval": 0.05, "ws_ping_timeout": 0.05}
    server = uvicorn.Server(
        uvicorn.Config(MarketConsumer.as_asgi(), ws=FramesProtocol, lifespan="off", log_config=None, **often)  # type: ignore[arg-type]
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.create_task(server.serve([listening]))
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            writer.write(HANDSHAKE)
            told = await reader.readuntil(b"\x0f\xa3heartbeat_timeout")
            assert b'"kind":"limits"' in told
            assert b'"code":4003' in told
            writer.close()
            server.should_exit = True
            await serving
