"""Peer: FastAPI and redis pub/sub, one subscription per process and a loop over its sockets."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from redis.asyncio import Redis

CHANNEL = "trade.S0000"
followers: set[WebSocket] = set()


async def relay() -> None:
    """Send every message of the channel to every follower."""
    async with Redis.from_url(os.environ["PEER_REDIS"]) as client, client.pubsub() as channel:
        await channel.subscribe(CHANNEL)
        async for message in channel.listen():
            if message["type"] == "message":
                text = message["data"].decode()
                for socket in list(followers):
                    with suppress(RuntimeError, WebSocketDisconnect):
                        await socket.send_text(text)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Relay as long as the application lives."""
    task = asyncio.create_task(relay())
    yield
    task.cancel()


app = FastAPI(lifespan=lifespan)


@app.websocket("/")
async def follow(socket: WebSocket) -> None:
    """One follower."""
    await socket.accept()
    followers.add(socket)
    try:
        while True:
            await socket.receive_text()
    except WebSocketDisconnect:
        pass
    finally:
        followers.discard(socket)
