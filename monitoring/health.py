"""Health of this process, answered before Django: is it alive, may it get traffic, and if not, why."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from channels.db import database_sync_to_async
from django.db import DatabaseError, connection

from marketdata.loops import PerLoop
from monitoring.canary import Canary
from realtime.node import VERSION, Node

logger = logging.getLogger(__name__)

DATABASE_S = 3.0
Application = Callable[[Any, Any, Any], Awaitable[None]]


async def _make() -> Canary:
    return Canary(await Node.here())


canaries = PerLoop(_make, Canary.stop)


class Health:
    """An ASGI application in front of another: it answers `/health/…` and hands everything else on."""

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer, or hand on."""
        canary = await canaries.here()  # beats from the first request on, not only once somebody asks
        report = {"/health/live": _live, "/health/ready": _ready, "/health/startup": _startup}.get(scope["path"])
        if report is None:
            await self.application(scope, receive, send)
            return
        failed = await report(canary)
        body = {"status": "ok" if not failed else "failed", "failed": failed, "node": canary.node.name, "version": VERSION}
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 503 if failed else 200, "headers": headers})
        await send({"type": "http.response.body", "body": msgspec.json.encode(body)})


async def _live(_: Canary) -> dict[str, str]:
    """That this answers is the whole proof."""
    return {}


async def _startup(canary: Canary) -> dict[str, str]:
    return {} if canary.back_at is not None else {"canary": "no message has come back through Redis yet"}


async def _ready(canary: Canary) -> dict[str, str]:
    failed = {}
    if not canary.alive:
        age = canary.age_s
        failed["canary"] = f"no message came back through Redis for {age:.0f} s" if age else "none came back through Redis yet"
    if not canary.node.keeper.alive:
        failed["keeper"] = "housekeeping fails; see the log"
    if canary.node.draining:
        failed["draining"] = "this process is stopping"
    try:
        async with asyncio.timeout(DATABASE_S):
            await database_sync_to_async(_ask_database)()
    except (DatabaseError, TimeoutError) as error:
        failed["database"] = str(error) or "no answer"
    return failed


def _ask_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
