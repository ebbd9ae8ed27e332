"""Peer: a consumer as the Channels documentation writes it, on either layer of channels_redis."""

from __future__ import annotations

import os
from typing import Any

import django
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter
from django.conf import settings

LAYERS = {"core": "channels_redis.core.RedisChannelLayer", "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer"}
GROUP = "trade.S0000"
_options: dict[str, Any] = {"hosts": [os.environ["PEER_REDIS"]]}
if os.environ["PEER_LAYER"] == "core":
    _options["capacity"] = 10_000  # or it drops under load

settings.configure(
    ALLOWED_HOSTS=["*"],
    CHANNEL_LAYERS={"default": {"BACKEND": LAYERS[os.environ["PEER_LAYER"]], "CONFIG": _options}},
    INSTALLED_APPS=["channels"],
    SECRET_KEY="benchmark",  # noqa: S106
)
django.setup()


class Follower(AsyncWebsocketConsumer):
    """Sends every message of the group."""

    async def connect(self) -> None:
        """Join, then accept."""
        await self.channel_layer.group_add(GROUP, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:  # noqa: ARG002
        """Leave."""
        await self.channel_layer.group_discard(GROUP, self.channel_name)

    async def market_update(self, event: dict[str, Any]) -> None:
        """A message of the group."""
        await self.send(text_data=event["text"])


application = ProtocolTypeRouter({"websocket": Follower.as_asgi()})
