"""The life of a serving process, as its server tells it."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest
from channels.layers import channel_layers

from monitoring import registry
from monitoring.historian import historians
from monitoring.watch import watches
from project.asgi import lifespan
from realtime import auth, limits

pytestmark = pytest.mark.django_db(transaction=True)


async def test_what_works_in_the_background_has_ended_before_the_loop_does(settings: Any, redis_url: str, prefix: str) -> None:
    bus = dataclasses.replace(settings.TICKWIRE.bus, redis_url=redis_url, prefix=prefix)
    settings.TICKWIRE = dataclasses.replace(settings.TICKWIRE, bus=bus)
    layer = {"BACKEND": "marketdata.layer.BusLayer", "CONFIG": {"url": redis_url, "prefix": prefix}}
    settings.CHANNEL_LAYERS = {"default": layer}
    registry.store.cache_clear()
    limits.forget_plans()
    auth.forget_principals()
    told: asyncio.Queue[Any] = asyncio.Queue()
    said: asyncio.Queue[Any] = asyncio.Queue()
    living = asyncio.create_task(lifespan({}, told.get, said.put))
    told.put_nowait({"type": "lifespan.startup"})
    async with asyncio.timeout(10):
        assert (await said.get())["type"] == "lifespan.startup.complete"
    watch, historian = await watches.here(), await historians.here()
    bus_task = (await channel_layers["default"].bus())._connecting
    tasks = [*watch.node.keeper.tasks, watch.task, watch.canary.task, watch.latency.task, historian.task, bus_task]
    assert all(task.alive for task in tasks)

    told.put_nowait({"type": "lifespan.shutdown"})
    async with asyncio.timeout(30):
        assert (await said.get())["type"] == "lifespan.shutdown.complete"
        await living
    assert [task.name for task in tasks if task.alive] == []
    registry.store.cache_clear()
