"""Things that belong to one event loop: made when first asked for, closed when the loop ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One thing per event loop.

    Every runner of event loops finishes the loop's asynchronous generators before it closes the loop. A generator that waits
    around the thing is therefore a public and dependable way to learn of the end.

    Args:
        make: makes the thing, in the loop that will have it.
        close: ends it, in the same loop.
    """

    def __init__(self, make: Callable[[], Awaitable[T]], close: Callable[[T], Awaitable[None]]) -> None:
        self._make = make
        self._close = close
        self._things: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Future[T]] = WeakKeyDictionary()
        self._guards: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncIterator[None]] = WeakKeyDictionary()

    async def here(self) -> T:
        """The running loop's thing. Several who ask at once wait for the one that is being made."""
        loop = asyncio.get_running_loop()
        if (known := self._things.get(loop)) is not None and known.done():
            return known.result()
        if known is None:
            made = self._things[loop] = loop.create_future()
            try:
                made.set_result(await self._make())
            except BaseException as error:
                del self._things[loop]
                made.set_exception(error)
                made.exception()  # perhaps nobody else waits
                raise
            _made.setdefault(loop, []).append(self)
            guard = self._guards[loop] = self._guard(made.result())
            await anext(guard)
        return await asyncio.shield(self._things[loop])

    async def close(self) -> None:
        """End the running loop's thing now, if there is one."""
        loop = asyncio.get_running_loop()
        if (thing := self._things.pop(loop, None)) is not None:
            self._guards.pop(loop)
            await self._close(await thing)

    async def _guard(self, thing: T) -> AsyncIterator[None]:
        try:
            yield
        finally:
            if self._things.pop(asyncio.get_running_loop(), None) is not None:
                await self._close(thing)


_made: WeakKeyDictionary[asyncio.AbstractEventLoop, list[PerLoop[Any]]] = WeakKeyDictionary()


async def end_here() -> None:
    """End the running loop's things, the last made first, while there is somebody to wait for them.

    A loop that ends cancels each task just once, and waits: one cancellation that a library swallows, and it waits for ever.
    """
    made = _made.pop(asyncio.get_running_loop(), [])
    while made:
        await made.pop().close()
