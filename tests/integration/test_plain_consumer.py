"""An ordinary Channels consumer works on our channel layer."""

from __future__ import annotations

import pytest
from channels.layers import channel_layers, get_channel_layer
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.test import override_settings
from django.urls import path

from examples.plain_consumer import PlainConsumer
from marketdata.layout import Layout
from marketdata.store import AsyncStore, Update


@pytest.mark.django_db  # an ordinary consumer closes old database connections with every message
async def test_the_example_consumer_receives_ticks(redis_url: str, prefix: str) -> None:
    layers = {"default": {"BACKEND": "marketdata.layer.BusLayer", "CONFIG": {"url": redis_url, "prefix": prefix}}}
    with override_settings(CHANNEL_LAYERS=layers):
        application = URLRouter([path("plain/<str:topic>", PlainConsumer.as_asgi())])
        client = WebsocketCommunicator(application, "/plain/quote.AAPL")
        connected, _ = await client.connect()
        assert connected
        store = AsyncStore(redis_url, Layout(prefix))
        await store.publish([Update("quote.AAPL", b'{"bid":"1.10"}')])
        assert await client.receive_json_from(3) == {"bid": "1.10"}
        await client.disconnect()
        await store.close()
        await get_channel_layer().close()
        channel_layers.backends.clear()
