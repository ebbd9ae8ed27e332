"""The consumer on a server that offers nothing but `send`: what is left when its socket goes."""

from __future__ import annotations

import asyncio

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
