"""The ASGI application: HTTP to Django, sockets to the consumers, the server's life to the node."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import re_path

http = get_asgi_application()  # sets Django up: what follows may import models

from marketdata.loops import end_here  # noqa: E402
from monitoring.fallback import Fallback  # noqa: E402
from monitoring.health import Health  # noqa: E402
from monitoring.historian import historians  # noqa: E402
from monitoring.routing import websocket_urlpatterns as monitor_urlpatterns  # noqa: E402
from monitoring.watch import watches  # noqa: E402
from realtime.routing import websocket_urlpatterns  # noqa: E402
from realtime.shortcut import Shortcut  # noqa: E402


async def lifespan(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001
    """Make the node and its watch before the first request, see that alert rules are evaluated, and end all that in the end.
    Servers that know no lifespan make the node with the first connection.
    """
    fallback = Fallback()
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await watches.here()  # and with it the node
            await historians.here()
            fallback.start()
            await send({"type": "lifespan.startup.complete"})
        else:
            fallback.stop()
            await end_here()
            await send({"type": "lifespan.shutdown.complete"})
            return


async def nowhere(scope: Any, receive: Any, send: Any) -> None:
    """Refuse a socket at a path where there is none: with 404 where the server can say so."""
    await receive()
    if "websocket.http.response" in scope.get("extensions", {}):
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "websocket.http.response.start", "status": 404, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b"There is no socket at this path.\n"})
    else:
        await send({"type": "websocket.close"})


everywhere_else = re_path("", nowhere)  # type: ignore[arg-type]  # Channels wants applications here, not views
sockets = URLRouter([*websocket_urlpatterns, *monitor_urlpatterns, everywhere_else])
application = ProtocolTypeRouter({"http": Health(Shortcut(http)), "websocket": sockets, "lifespan": lifespan})
