"""Whatever stands between clients and the server: whether a WebSocket gets through, and whether one that is quiet stays open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

import websockets

from monitoring.doctor.findings import Finding, fail, ok, warn
from monitoring.masks import masked

OPEN_S = 10.0
PING_S = 20.0  # the server pings each socket so often: a proxy that ends what was idle for less ends quiet clients
FIX = "raise the idle time-out (nginx: proxy_read_timeout 60s; HAProxy: timeout tunnel 1h; AWS: idle timeout 60)"


@dataclass(frozen=True)
class ProxyFacts:
    """What became of one quiet connection.

    Attributes:
        url: that was dialled.
        refused: why it did not open; empty where it did.
        ended_s: after how long the other side ended it; None: it never did.
        watched_s: how long it was watched.
        open_ms: how long the opening took.
    """

    url: str
    refused: str = ""
    ended_s: float | None = None
    watched_s: float = 0.0
    open_ms: float = 0.0


def ask(url: str, watch_s: float) -> ProxyFacts:
    """Open a socket through the proxy, say nothing, and see how long it lasts.

    Args:
        url: as clients use it, `wss://market.example.com/ws/v1/market`.
        watch_s: how long to look on.
    """
    return asyncio.run(_ask(url, watch_s))


async def _ask(url: str, watch_s: float) -> ProxyFacts:
    began = time.monotonic()
    try:
        socket = await websockets.connect(url, open_timeout=OPEN_S, ping_interval=None, close_timeout=1)
    except (OSError, TimeoutError, ValueError, websockets.WebSocketException) as error:
        return ProxyFacts(url, refused=masked(str(error) or type(error).__name__).rstrip("."))
    opened = time.monotonic()
    async with socket:
        try:
            async with asyncio.timeout(watch_s):
                await socket.wait_closed()
        except TimeoutError:
            return ProxyFacts(url, watched_s=watch_s, open_ms=(opened - began) * 1000)
    return ProxyFacts(url, ended_s=time.monotonic() - opened, watched_s=watch_s, open_ms=(opened - began) * 1000)


def check(facts: ProxyFacts) -> Iterator[Finding]:
    """Judge it."""
    if facts.refused:
        fix = "have the proxy pass Upgrade and Connection on (nginx: proxy_http_version 1.1), and see TICKWIRE_ALLOWED_HOSTS"
        yield fail("proxy", f"No WebSocket opens at {facts.url}: {facts.refused}.", fix)
        return
    yield ok("proxy", f"A WebSocket opens at {facts.url} in {facts.open_ms:.0f} ms.")
    if facts.ended_s is not None:
        yield fail("proxy time-out", f"A quiet connection was ended after {facts.ended_s:.0f} s.", FIX)
    elif facts.watched_s <= PING_S:
        says = f"A quiet connection lasted the {facts.watched_s:.0f} s that it was watched, which shows no time-out above that."
        yield warn("proxy time-out", says, f"watch for longer than {PING_S:.0f} s: --seconds 65")
    else:
        yield ok("proxy time-out", f"A quiet connection lasted the {facts.watched_s:.0f} s that it was watched.")
