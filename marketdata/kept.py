"""Background tasks that must not end: when one does, that is logged and counted, and it is begun again."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

CANCELS, CANCEL_S = 3, 1.0  # how often a task is told to end, and how long it may take each time
AGAIN_S = 1.0  # long enough that health sees it, and that a task which dies at once costs nothing

deaths: Counter[str] = Counter()  # of this process, by the task's name; 0 for those that never ended


class KeptTask:
    """One routine of one event loop.

    Attributes:
        name: of the task.
        deaths: how often it ended although nobody had stopped it.
    """

    def __init__(self, name: str, work: Callable[[], Coroutine[object, object, None]], log: logging.Logger) -> None:
        """Take the parts; nothing runs yet.

        Args:
            name: for the log.
            work: makes the routine, which goes on for ever.
            log: where deaths are told.
        """
        self.name = name
        self.deaths = 0
        deaths[name] += 0
        self._work = work
        self._log = log
        self._task: asyncio.Task[None] | None = None
        self._again: asyncio.TimerHandle | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Begin in the running event loop, unless it runs already."""
        if not self.alive:
            loop, nobodys = asyncio.get_running_loop(), Context()  # its log lines belong to no command, whoever was first
            self._task = loop.create_task(self._work(), name=self.name, context=nobodys)
            self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """End it for good."""
        task, self._task = self._task, None
        if self._again is not None:
            self._again.cancel()
        if task is not None and not await end(task):
            self._log.error("%s: the task does not stop", self.name)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task is not self._task:
            return  # it was stopped
        self.deaths += 1
        deaths[self.name] += 1
        if not task.cancelled():  # which the end of the loop does to every task; that it goes on is told later
            self._log.error("%s: the task ended; it begins again", self.name, exc_info=task.exception())
        self._again = task.get_loop().call_later(AGAIN_S, self._begin_again, task)

    def _begin_again(self, ended: asyncio.Task[None]) -> None:
        if ended.cancelled():
            self._log.error("%s: the task had been cancelled by somebody; it begins again", self.name)
        self.start()


async def end(task: asyncio.Task[Any]) -> bool:
    """Cancel a task and wait for its end, for a bounded time. Returns whether it ended.

    A library may swallow a cancellation that comes at the wrong moment; the next one counts.
    """
    for _ in range(CANCELS):
        task.cancel()
        if (await asyncio.wait([task], timeout=CANCEL_S))[0]:
            _ = task.cancelled() or task.exception()  # or it would be logged as never looked at
            return True
    return False
