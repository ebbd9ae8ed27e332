"""Work that wants something of a publisher now and then, written once for synchronous and asynchronous code.

Such work is a generator: it yields what it wants (`Load`, `Known`, `Publish`) and is sent the answer, or thrown the error.
Whoever runs it decides how to wait.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, TypeVar

from marketdata.batch import Mark, State
from marketdata.publisher import AsyncPublisher, Publisher
from marketdata.ticks import Tick, Trade


class Load(NamedTuple):
    """Read states; the answer is a list of `State`."""

    keys: list[str]

    def ask(self, publisher: Publisher | AsyncPublisher) -> Any:
        """Ask for it; an `AsyncPublisher` returns an awaitable."""
        return publisher.load(self.keys)


class Known(NamedTuple):
    """Ask which trades were published lately; the answer is a list of truths."""

    trades: Sequence[Trade]

    def ask(self, publisher: Publisher | AsyncPublisher) -> Any:
        """Ask for it; an `AsyncPublisher` returns an awaitable."""
        return publisher.known(self.trades)


class Publish(NamedTuple):
    """Publish in one step; the answer is a list of seqs. See `Store.publish`."""

    ticks: Sequence[Tick]
    states: Sequence[State] = ()
    mark: Mark | None = None

    def ask(self, publisher: Publisher | AsyncPublisher) -> Any:
        """Ask for it; an `AsyncPublisher` returns an awaitable."""
        return publisher.publish(self.ticks, self.states, self.mark)


Done = TypeVar("Done")
Steps = Generator[Load | Known | Publish, Any, Done]


def run(steps: Steps[Done], publisher: Publisher) -> Done:
    """Do the work; whatever the publisher raises, the work may handle."""
    try:
        wish = next(steps)
        while True:
            try:
                answer = wish.ask(publisher)
            except BaseException as error:
                wish = steps.throw(error)
            else:
                wish = steps.send(answer)
    except StopIteration as end:
        done: Done = end.value
        return done


async def arun(steps: Steps[Done], publisher: AsyncPublisher) -> Done:
    """Do the work. A cancellation is thrown to it like any error, so that it can undo what it has begun."""
    try:
        wish = next(steps)
        while True:
            try:
                answer = await wish.ask(publisher)
            except BaseException as error:
                wish = steps.throw(error)
            else:
                wish = steps.send(answer)
    except StopIteration as end:
        done: Done = end.value
        return done
