"""The consumer on a server that offers nothing but `send`: what is left when its socket goes."""

from __future__ import annotations

import asyncio
import json

import pytest
from channels.testing import WebsocketCommunicator

from realtime.consumers import MarketConsumer
from realtime.node import Node


@pytest.mark.django_db(transaction=True)
async def test_a_socket_that_goes_leaves_neither_a_connection_nor_a_task(redis_url: str) -> None:
    client = WebsocketCommunicator(MarketConsumer.as_asgi(), "/ws/v1/market")
    assert (await client.connect())[0]
    assert (await client.receive_json_from(3))["type"] == "welcome"
    hub = (await Node.here()).hub
    assert len(hub.connections) == 1
    await client.disconnect()
    async with asyncio.timeout(3):
        while any(task.get_name() == "sink" for task in asyncio.all_tasks()):
            await asyncio.sleep(0)
    assert hub.connections == {}


@pytest.mark.django_db(transaction=True)
async def test_a_message_that_is_too_big_is_not_carried_out(redis_url: str) -> None:
    client = WebsocketCommunicator(MarketConsumer.as_asgi(), "/ws/v1/market")
    await client.connect()
    await client.receive_json_from(3)
    await client.send_to(text_data=json.dumps({"op": "ping", "nonce": "é" * 20, "id": "x"}).ljust(16_385))
    notice = await client.receive_json_from(3)
    assert (notice["type"], notice["code"]) == ("notice", 1009)
    assert (await client.receive_output(3))["type"] == "websocket.close"
    hub = (await Node.here()).hub
    assert "command:ping" not in hub.counts
    await client.disconnect()


@pytest.mark.django_db(transaction=True)
async def test_the_first_heartbeat_is_due_one_interval_after_the_welcome(redis_url: str) -> None:
    client = WebsocketCommunicator(MarketConsumer.as_asgi(), "/ws/v1/market")
    await client.connect()
    await client.receive_json_from(3)
    hub = (await Node.here()).hub
    (connection,) = hub.connections.values()
    assert hub.time() < connection.beat_at <= hub.time() + 10
    await client.disconnect()
