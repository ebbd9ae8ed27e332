"""Who watches the installation on this process' monitor sockets, and what computes for them: each question once a second for all.

Rules of this file:
1. A question that nobody asks any more is not computed. However many ask the same, it is computed once.
2. Nothing here blocks the event loop: Redis, other processes and the database are asked in threads of their own.
3. Nobody waits for a watcher: what it has not been sent yet, the newer one replaces.
4. Every few seconds all watchers are looked at: who is not staff any more is closed. A database that is away closes nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from channels.db import database_sync_to_async

from marketdata.errors import DatabaseUnavailable, StoreUnavailable
from marketdata.kept import KeptTask
from marketdata.loops import PerLoop
from marketdata.outage import Outage
from marketdata.store import now_us
from monitoring.panes import Question, View, asker
from realtime import protocol
from realtime.bans import bans
from realtime.codes import Close, Code, CodedError, internal
from realtime.limits import CACHED_S
from realtime.principal import Principal
from realtime.reviews import Verdict, review

logger = logging.getLogger(__name__)

EVERY_S = 1.0
REVIEWED_EVERY_S = 2.0
MOST = 50  # watchers of one process

_threads = ThreadPoolExecutor(6, "monitor")
_reviewers = ThreadPoolExecutor(1, "monitor-review")  # its own: a Redis that hangs must not keep anybody in


class Watcher(Protocol):
    """Somebody who watches.

    Attributes:
        principal, address: who, and from where.
    """

    principal: Principal
    address: str

    def show(self, view: View, message: bytes) -> None:
        """Have it sent, in place of an older one that was not sent yet."""

    def end(self, close: Close) -> None:
        """Close it."""


class Production:
    """Computes one question as long as it is asked.

    Attributes:
        watchers: who asks.
        task: what computes.
    """

    def __init__(self, question: Question, computed: Counter[Question]) -> None:
        self.question = question
        self.watchers: set[Watcher] = set()
        self._computed = computed
        self._ask = asker(question)
        self._newest: bytes | None = None
        self._outage = Outage(f"showing {question.view} on the monitor", logger)
        self.task = KeptTask(f"monitor {question.view}", self._run, logger)
        self.task.start()

    def add(self, watcher: Watcher) -> None:
        """Somebody asks it, too; what is known already is shown at once."""
        if watcher not in self.watchers and self._newest is not None:
            watcher.show(self.question.view, self._newest)
        self.watchers.add(watcher)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            self._newest = await self._message()
            for watcher in tuple(self.watchers):
                watcher.show(self.question.view, self._newest)
            await asyncio.sleep(max(0.0, began + EVERY_S - loop.time()))

    async def _message(self) -> bytes:
        self._computed[self.question] += 1
        view = self.question.view
        try:
            pane = await asyncio.get_running_loop().run_in_executor(_threads, self._ask)
            answer = protocol.message("view", view=view, at=now_us(), data=pane)
        except StoreUnavailable as error:
            self._outage.failed(error)
            return self._failure(CodedError(Code.FEED_UNAVAILABLE, "Redis does not answer"))
        except Exception:
            logger.exception("the monitor's %s cannot be shown", view)
            return self._failure(internal("something went wrong here; it was logged"))
        self._outage.over()
        return answer

    def _failure(self, error: CodedError) -> bytes:
        return protocol.message("view", view=self.question.view, at=now_us(), error=error.as_dict())


class Audience:
    """The watchers of one event loop.

    Attributes:
        computed: how often each question was.
    """

    def __init__(self) -> None:
        self.computed: Counter[Question] = Counter()
        self._watchers: set[Watcher] = set()
        self._productions: dict[Question, Production] = {}
        self._reviews = KeptTask("monitor review", self._look_again, logger)
        self._outage = Outage("looking after those who monitor", logger)
        self._ending: set[asyncio.Task[None]] = set()

    @classmethod
    async def make(cls) -> Audience:
        """Nobody yet."""
        return cls()

    @property
    def full(self) -> bool:
        """Whether nobody else may watch here."""
        return len(self._watchers) >= MOST

    def enter(self, watcher: Watcher) -> None:
        """Somebody came."""
        self._watchers.add(watcher)
        self._reviews.start()

    def watch(self, watcher: Watcher, questions: Collection[Question]) -> None:
        """From now on somebody sees this, and nothing else."""
        for question, production in list(self._productions.items()):
            if question not in questions:
                production.watchers.discard(watcher)
                self._end_if_unwatched(question)
        for question in questions:
            if question not in self._productions:
                self._productions[question] = Production(question, self.computed)
            self._productions[question].add(watcher)

    def leave(self, watcher: Watcher) -> None:
        """Somebody is gone."""
        self.watch(watcher, ())
        self._watchers.discard(watcher)
        if not self._watchers:
            self._stop(self._reviews)

    def _end_if_unwatched(self, question: Question) -> None:
        if not self._productions[question].watchers:
            self._stop(self._productions.pop(question).task)
            self.computed.pop(question)

    def _stop(self, kept: KeptTask) -> None:
        task = asyncio.get_running_loop().create_task(kept.stop())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(REVIEWED_EVERY_S)
            try:
                await self.review()
            except DatabaseUnavailable as error:
                self._outage.failed(error)
            else:
                self._outage.over()

    async def review(self) -> None:
        """Close those who may not watch any more.

        Raises:
            DatabaseUnavailable: nobody knows.
        """
        watchers = list(self._watchers)
        for watcher, verdict in zip(watchers, await _review([each.principal for each in watchers]), strict=True):
            if (close := judge(watcher, verdict)) is not None:
                watcher.end(close)

    async def stop(self) -> None:
        """Nobody is shown anything any more."""
        kept = [self._reviews, *(production.task for production in self._productions.values())]
        self._productions.clear()
        await asyncio.gather(*(each.stop() for each in kept), *self._ending)


def judge(watcher: Watcher, verdict: Verdict) -> Close | None:
    """Why somebody may not watch; None: it may."""
    if isinstance(verdict, Close):
        return verdict
    if verdict.expired:
        return Close.TOKEN_EXPIRED
    if bans.covers(watcher.address, verdict.user_id):
        return Close.DISABLED
    return None if verdict.is_staff else Close.UNAUTHORIZED


def _review_now(principals: Collection[Principal]) -> list[Verdict]:
    bans.refresh_if_older(CACHED_S)
    return review(list(principals))


_review = database_sync_to_async(_review_now, thread_sensitive=False, executor=_reviewers)
audiences = PerLoop(Audience.make, Audience.stop)
