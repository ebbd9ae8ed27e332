"""An ordinary Channels consumer on Tickwire's channel layer: it joins the group of a topic and gets the ticks as messages.

Nothing of Tickwire's transport is used here. This costs what Channels costs, a task and a queue per socket, and is right for a
few connections that need something special; `/ws/v1/market` is right for everybody else. Mount it in a project's routing:

    path("ws/plain/<str:topic>", PlainConsumer.as_asgi())
"""

from __future__ import annotations

from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer

from marketdata.topics import parse


class PlainConsumer(AsyncWebsocketConsumer):
    """Sends the bodies of one topic, each as a text frame."""

    async def connect(self) -> None:
        """Join the group of the topic that the path names; what is published after the accept arrives."""
        self.group = parse(self.scope["url_route"]["kwargs"]["topic"]).group
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:  # noqa: ARG002
        """Leave the group."""
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def market_update(self, event: dict[str, Any]) -> None:
        """Called by Channels for each message of type `market.update`."""
        await self.send(text_data=event["data"])
