"""Health and metrics of this process, answered before Django: is it alive, may it get traffic, and if not, why."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from channels.db import database_sync_to_async
from django.db import DatabaseError, connection

from monitoring.scrape import BARE, Scrape
from monitoring.watch import Watch, watches
from realtime.node import VERSION

logger = logging.getLogger(__name__)

DATABASE_S = 3.0
Application = Callable[[Any, Any, Any], Awaitable[None]]


class Health:
    """An ASGI application in front of another: it answers `/health/…` and `/metrics`, and hands everything else on."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.scrape = Scrape()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer, or hand on."""
        watch = await watches.here()  # beats from the first request on, not only once somebody asks
        path = scope["path"]
        if path == "/metrics":
            await self.scrape(watch, scope, send)
        elif (report := REPORTS.get(path)) is not None:
            await _answer(watch, await report(watch), send)
        else:
            await self.application(scope, receive, send)


async def _answer(watch: Watch, failed: dict[str, str], send: Any) -> None:
    body = {"status": "ok" if not failed else "failed", "failed": failed, "node": watch.node.name, "version": VERSION}
    headers = [(b"content-type", b"application/json"), *BARE]
    await send({"type": "http.response.start", "status": 503 if failed else 200, "headers": headers})
    await send({"type": "http.response.body", "body": msgspec.json.encode(body)})


async def live(_: Watch) -> dict[str, str]:
    """That this answers is the whole proof."""
    return {}


async def startup(watch: Watch) -> dict[str, str]:
    """What has yet to happen before the process may be judged."""
    return {} if watch.canary.back_at is not None else {"canary": "no message has come back through Redis yet"}


async def ready(watch: Watch) -> dict[str, str]:
    """Why the process should get no traffic."""
    watch.database.note(await _database_failure(), watch.node.hub.time())
    return watch.failed()


async def _database_failure() -> str:
    """Why the database cannot be asked; empty where it can."""
    try:
        async with asyncio.timeout(DATABASE_S):
            await database_sync_to_async(_ask_database)()
    except (DatabaseError, TimeoutError) as error:
        return str(error) or "no answer"
    return ""


def _ask_database() -> None:
    """Ask for a row of a table that every installation has: of a file that is not there SQLite makes an empty one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM django_migrations LIMIT 1")


REPORTS = {"/health/live": live, "/health/ready": ready, "/health/startup": startup}
