"""Each background task of a serving process, and the writer of bars, is killed: health says so, and it goes on."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from marketdata import kept, supervisor
from marketdata.bars import BarWriter
from marketdata.kept import KeptTask
from monitoring.health import Health
from monitoring.process import own_samples
from monitoring.watch import watches
from realtime.keeper import Keeper
from realtime.node import Node
from tests.integration.conftest import Desk
from tests.integration.test_keeper import Listed


def kill(task: KeptTask) -> None:
    assert task._task is not None
    task._task.cancel()


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def readiness() -> dict[str, str]:
    """What `/health/ready` says is wrong."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await Health(None)({"type": "http", "path": "/health/ready"}, None, send)  # type: ignore[arg-type]
    failed: dict[str, str] = json.loads(sent[1]["body"])["failed"]
    return failed


@pytest.fixture
async def node(redis_url: str, prefix: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Node:
    bus = dataclasses.replace(settings.TICKWIRE.bus, redis_url=redis_url, prefix=prefix)
    settings.TICKWIRE = dataclasses.replace(settings.TICKWIRE, bus=bus)
    layer = settings.CHANNEL_LAYERS["default"] | {"CONFIG": {"url": redis_url, "prefix": prefix}}
    settings.CHANNEL_LAYERS = {"default": layer}
    monkeypatch.setattr(kept, "AGAIN_S", 0.3)
    canary = (await watches.here()).canary
    await until(lambda: canary.alive)
    return canary.node


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["keeper", "chores"])
async def test_a_dead_keeper_makes_the_process_unready_until_it_is_back(node: Node, name: str) -> None:
    assert "keeper" not in await readiness()
    task = next(task for task in node.keeper.tasks if task.name == name)
    kill(task)
    await until(lambda: not task.alive)
    assert "keeper" in await readiness()
    await until(lambda: task.alive)
    assert "keeper" not in await readiness()


@pytest.mark.django_db(transaction=True)
async def test_a_dead_canary_sings_again(node: Node) -> None:
    canary = (await watches.here()).canary
    kill(canary.task)
    await until(lambda: canary.task.deaths == 1)
    canary.back_at = None
    assert "canary" in await readiness()
    await until(lambda: canary.alive)
    assert "canary" not in await readiness()


async def test_a_dead_writer_of_bars_goes_on_saving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "AGAIN_S", 0.0)
    looked = 0

    async def look(*_: Any, **__: Any) -> None:
        nonlocal looked
        looked += 1

    writer = BarWriter(save=lambda bars: None, pause_s=0.01)
    monkeypatch.setattr(writer, "_flush_behind", look)
    writer._pending = {("AAPL", None, 0): None}  # type: ignore[dict-item]  # something waits
    await writer.start()
    await until(lambda: looked)
    kill(writer._task)
    await until(lambda: writer._task.deaths == 1)
    looked = 0
    await until(lambda: looked)
    writer._pending = {}
    await writer.stop()


@pytest.fixture
async def keeper(desk: Desk) -> AsyncIterator[Keeper]:
    def fail() -> None:
        raise RuntimeError("broken")

    found = Keeper(
        desk.hub, Listed("AAPL"), stale_after_s=30, slow_notice_s=2, slow_close_s=10, each_tick=fail  # type: ignore[arg-type]
    )  # fmt: skip
    yield found
    await found.stop()


async def test_what_fails_each_tick_is_logged_once_and_keeps_no_heartbeat_back(
    desk: Desk, keeper: Keeper, caplog: pytest.LogCaptureFixture
) -> None:
    client = desk.connect()
    client.heartbeat_s = 0.01
    keeper.start()
    await desk.until(lambda: client.beats > 3)
    await keeper.chores()
    assert not keeper.alive
    assert [record.exc_text is not None for record in caplog.records] == [True]


async def test_a_task_of_the_hub_that_fails_is_logged_and_counted(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise RuntimeError("broken")

    desk.hub.spawn(fail())
    await desk.until(lambda: desk.hub.stats().get("failures") == 1)
    assert ["broken" in (record.exc_text or "") for record in caplog.records] == [True]


async def test_a_dead_routine_of_the_feed_process_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "AGAIN_S", 0.01)
    monkeypatch.setattr(supervisor, "ROSTER_S", 0.01)
    monkeypatch.setattr(supervisor, "TICK_S", 0.01)
    called: Counter[str] = Counter()

    def part(name: str) -> Any:
        async def call(*_: Any) -> list[Any]:
            called[name] += 1
            return []

        return call

    feeds = supervisor.Supervisor(part("roster"), part("connect"), part("note"), part("tick"), part("latest"))
    before, stopping = Counter(kept.deaths), asyncio.Event()
    running = asyncio.create_task(feeds.run(stopping))
    for routine in feeds.routine:
        await until(lambda task=routine: task.alive)
        kill(routine)
    await until(lambda: all(task.deaths == 1 and task.alive for task in feeds.routine))
    told = {sample.labels: sample.value for sample in own_samples() if sample.name == "tickwire_task_deaths_total"}
    assert all(told[(("task", task.name),)] > before[task.name] for task in feeds.routine)
    called.clear()
    await until(lambda: called.keys() >= {"roster", "note", "tick"})
    stopping.set()
    await running
    assert not any(task.alive for task in feeds.routine)
