"""Stands between a server and its Redis, and loses, doubles or delays what the bus carries; all else goes through untouched."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

READ_BYTES = 1 << 16
GROUPS = b"__md."  # what the Redis channel of a topic's group has in it, and no other

Fault = Callable[[int], int]


def passing(_: int) -> int:
    """Every message goes on once."""
    return 1


def losing(_: int) -> int:
    """No message goes on."""
    return 0


def doubling(_: int) -> int:
    """Every message goes on twice."""
    return 2


def losing_each(nth: int) -> Fault:
    """One message in so many does not go on."""
    return lambda number: 0 if number % nth == 0 else 1


def line(buffer: bytes, at: int) -> tuple[bytes, int] | None:
    """The line of RESP from there, and where the next one begins; None when it is not whole."""
    end = buffer.find(b"\r\n", at)
    return (buffer[at:end], end + 2) if end >= 0 else None


def parts(buffer: bytes, at: int) -> tuple[list[bytes], int] | None:
    """The texts of the RESP reply from there, and where the next one begins; None when it is not whole."""
    if (head := line(buffer, at)) is None:
        return None
    text, at = head
    kind, size = text[:1], int(text[1:]) if text[:1] in b"$*" else 0
    if kind == b"$" and size >= 0:
        return ([buffer[at : at + size]], at + size + 2) if len(buffer) >= at + size + 2 else None
    found: list[bytes] = []
    for _ in range(size if kind == b"*" else 0):
        if (inner := parts(buffer, at)) is None:
            return None
        found, at = found + inner[0], inner[1]
    return found or [text], at


class Proxy:
    """A port of loopback that is a Redis with a faulty bus.

    Args:
        path: Unix socket of the true one.

    Attributes:
        fault: number of a message of a topic → how often it goes on.
        delay_s: how long whatever the bus carries is under way.
        carried, lost: messages of topics that came, and that did not go on.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.port = 0
        self.fault: Fault = passing
        self.delay_s = 0.0
        self.carried = self.lost = 0
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    @property
    def url(self) -> str:
        """As `TICKWIRE_REDIS_URL` has it."""
        return f"redis://127.0.0.1:{self.port}"

    @contextmanager
    def open(self) -> Iterator[Proxy]:
        """Serve for as long as the block."""
        self._thread.start()
        assert self._ready.wait(5)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._ended.set)
            self._thread.join()
            self._loop.close()

    async def _serve(self) -> None:
        self._ended = asyncio.Event()
        server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._ended.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _join(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        redis, to_redis = await asyncio.open_unix_connection(self.path)
        wire = _Wire(self, to_client)
        asking = asyncio.create_task(self._pump(client, to_redis, wire.note))
        try:
            await self._pump(redis, to_client, wire.carry)
        finally:
            asking.cancel()
            for writer in (to_redis, to_client):
                writer.close()

    async def _pump(self, source: asyncio.StreamReader, drain: asyncio.StreamWriter, alter: Callable[[bytes], bytes]) -> None:
        with suppress(ConnectionError):
            while data := await source.read(READ_BYTES):
                drain.write(alter(data))
                await drain.drain()
        drain.close()


class _Wire:
    """What goes from Redis to one client: bytes, until the client subscribes to something; then replies, one by one."""

    def __init__(self, proxy: Proxy, drain: asyncio.StreamWriter) -> None:
        self.proxy = proxy
        self.drain = drain
        self.carries_bus = False
        self._rest = b""

    def note(self, data: bytes) -> bytes:
        """Look at what the client asks."""
        self.carries_bus |= b"SUBSCRIBE" in data
        return data

    def carry(self, data: bytes) -> bytes:
        """What goes on at once."""
        if not self.carries_bus:
            return data
        self._rest += data
        going, at = [], 0
        while (found := parts(self._rest, at)) is not None:
            texts, end = found
            going += [self._rest[at:end]] * self._times(texts)
            at = end
        self._rest = self._rest[at:]
        return self._later(b"".join(going))

    def _times(self, texts: list[bytes]) -> int:
        if texts[0] != b"message" or GROUPS not in texts[1]:
            return 1
        self.proxy.carried += 1
        times = self.proxy.fault(self.proxy.carried)
        self.proxy.lost += times == 0
        return times

    def _later(self, data: bytes) -> bytes:
        if not self.proxy.delay_s:
            return data
        asyncio.get_running_loop().call_later(self.proxy.delay_s, self.drain.write, data)
        return b""
