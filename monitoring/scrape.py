"""`/metrics`: what Prometheus is given by whichever serving process it asks, about all of them.

Rules of this file:
1. Only networks of `TICKWIRE_METRICS_NETWORKS` are answered: the numbers say much about an installation.
2. While Redis does not answer, a process tells of itself; that Redis is down is among what it tells.
3. What a process tells of itself it has written first: whichever process is asked next, no counter goes back.
"""

from __future__ import annotations

import ipaddress
from functools import cache
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings

from marketdata.errors import StoreUnavailable
from monitoring.exposition import CONTENT_TYPE, expose
from monitoring.installation import Snapshot
from monitoring.registry import store
from monitoring.watch import Watch
from realtime.places import Network, is_inside


class Scrape:
    """Answers scrapes."""

    async def __call__(self, watch: Watch, scope: Any, send: Any) -> None:
        """Answer one."""
        address = (scope.get("client") or [""])[0]
        if address and not is_inside(address, _networks()):
            await _send(send, 403, "text/plain", b"metrics are not for this address: see TICKWIRE_METRICS_NETWORKS\n")
            return
        await _send(send, 200, CONTENT_TYPE, await self.text(watch))

    async def text(self, watch: Watch) -> bytes:
        """Everything that is known."""
        try:
            own = await watch.tell()
            snapshot = await _take()
        except StoreUnavailable:
            return expose([watch.report(away=True)], [])
        others = [report for report in snapshot.reports if report.name != own.name]
        return await sync_to_async(expose, thread_sensitive=False)([*others, own], snapshot.samples)


# of answers that Django's middleware does not see
BARE = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]


async def _send(send: Any, status: int, kind: str, body: bytes) -> None:
    headers = [(b"content-type", kind.encode()), *BARE]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@cache
def _networks() -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in settings.TICKWIRE.serving.metrics_networks)


_take = sync_to_async(lambda: Snapshot.take(store()), thread_sensitive=False)
