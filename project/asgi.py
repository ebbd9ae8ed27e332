"""The ASGI application: HTTP to Django, sockets to the consumers, the server's life to the node."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

http = get_asgi_application()  # sets Django up: what follows may import models

from monitoring.health import Health  # noqa: E402
from monitoring.historian import historians  # noqa: E402
from monitoring.routing import websocket_urlpatterns as monitor_urlpatterns  # noqa: E402
from realtime.node import Node  # noqa: E402
from realtime.routing import websocket_urlpatterns  # noqa: E402
from realtime.shortcut import Shortcut  # noqa: E402


async def lifespan(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001
    """Make the node before the first request. Servers that know no lifespan make it with the first connection."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await Node.here()
            await historians.here()
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return


application = ProtocolTypeRouter(
    {"http": Health(Shortcut(http)), "websocket": URLRouter([*websocket_urlpatterns, *monitor_urlpatterns]), "lifespan": lifespan}
)
