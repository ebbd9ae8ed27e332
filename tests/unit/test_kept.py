"""Tasks that must not end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from itertools import count

import pytest

from marketdata import correlation, kept
from marketdata.kept import KeptTask

log = logging.getLogger(__name__)


class Routine:
    """Goes on until a test has it fail."""

    def __init__(self) -> None:
        self.begun = 0
        self.fail = asyncio.Event()

    async def run(self) -> None:
        self.begun += 1
        await self.fail.wait()
        self.fail.clear()
        raise RuntimeError("broken")


@pytest.fixture
def routine(monkeypatch: pytest.MonkeyPatch) -> Routine:
    monkeypatch.setattr(kept, "AGAIN_S", 0.01)
    return Routine()


@pytest.fixture
async def task(routine: Routine) -> AsyncIterator[KeptTask]:
    found = KeptTask("routine", routine.run, log)
    found.start()
    await until(lambda: routine.begun == 1)
    yield found
    await found.stop()


async def until(condition: object) -> None:
    async with asyncio.timeout(5):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.001)


async def test_one_that_fails_is_logged_counted_and_begun_again(
    task: KeptTask, routine: Routine, caplog: pytest.LogCaptureFixture
) -> None:
    routine.fail.set()
    await until(lambda: not task.alive)
    await until(lambda: task.alive)
    await until(lambda: routine.begun == 2)
    assert task.deaths == 1
    assert ["broken" in (record.exc_text or "") for record in caplog.records] == [True]


async def test_one_that_somebody_cancels_is_begun_again(
    task: KeptTask, routine: Routine, caplog: pytest.LogCaptureFixture
) -> None:
    assert task._task is not None
    task._task.cancel()
    await until(lambda: routine.begun == 2)
    assert (task.deaths, len(caplog.records)) == (1, 1)


async def test_one_that_returns_is_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "AGAIN_S", 0.0)
    turns = count()

    async def brief() -> None:
        next(turns)

    task = KeptTask("brief", brief, log)
    task.start()
    await until(lambda: task.deaths > 3)
    await task.stop()


async def test_one_that_is_stopped_stays_so(task: KeptTask, routine: Routine, caplog: pytest.LogCaptureFixture) -> None:
    await task.stop()
    await asyncio.sleep(0.05)
    assert (task.alive, task.deaths, routine.begun, caplog.records) == (False, 0, 1, [])


async def test_one_that_is_stopped_between_two_lives_stays_so(task: KeptTask, routine: Routine) -> None:
    routine.fail.set()
    await until(lambda: not task.alive)
    await task.stop()
    await asyncio.sleep(0.05)
    assert routine.begun == 1


async def test_it_is_not_begun_twice(task: KeptTask, routine: Routine) -> None:
    task.start()
    await asyncio.sleep(0)
    assert routine.begun == 1


def test_the_end_of_the_loop_is_no_death_to_be_told(routine: Routine, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        KeptTask("routine", routine.run, log).start()
        await asyncio.sleep(0)

    asyncio.run(main())
    assert caplog.records == []


async def test_it_belongs_to_no_command() -> None:
    correlation.begin("somebody's")
    names = []

    async def note() -> None:
        names.append(correlation.current())

    task = KeptTask("note", note, log)
    task.start()
    await until(lambda: names)
    await task.stop()
    assert names == [correlation.NONE]


async def test_a_task_that_misses_one_cancellation_ends_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "CANCEL_S", 0.01)
    missed = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            missed.append(True)
        await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    assert await kept.end(task)
    assert missed == [True]
