"""Things of an event loop end while somebody waits for them."""

from __future__ import annotations

import asyncio
import logging

from marketdata.kept import KeptTask
from marketdata.loops import PerLoop, end_here

log = logging.getLogger(__name__)


async def test_the_last_made_ends_first_and_each_once() -> None:
    ended: list[str] = []

    def named(name: str) -> PerLoop[str]:
        async def make() -> str:
            return name

        async def close(thing: str) -> None:
            ended.append(thing)

        return PerLoop(make, close)

    for name in ("layer", "node", "watch"):
        await named(name).here()
    await end_here()
    await end_here()
    assert ended == ["watch", "node", "layer"]


async def test_a_task_that_swallows_a_cancellation_ends_all_the_same() -> None:
    swallowed = 0

    async def work() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if swallowed:
                    raise
                swallowed += 1

    async def make() -> KeptTask:
        task = KeptTask("stubborn", work, log)
        task.start()
        await asyncio.sleep(0)
        return task

    task = await PerLoop(make, KeptTask.stop).here()
    await end_here()
    assert (swallowed, task.alive) == (1, False)
