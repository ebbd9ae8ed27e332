"""The shipped server without enough processor: visitors are refused, others are not, and it is over by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
from websockets.exceptions import InvalidStatus

from tests.system.conftest import SERVE, Tickwire, run_server, wait_for

STOPPED_S, RUNNING_S = 0.6, 0.03


@contextmanager
def starved(server: Tickwire) -> Iterator[None]:
    """The server runs a twentieth of the time; whenever it looks at the clock, it is late."""
    assert server.process is not None
    pid, over = server.process.pid, Event()

    def stutter() -> None:
        while not over.is_set():
            os.kill(pid, signal.SIGSTOP)
            time.sleep(STOPPED_S)
            os.kill(pid, signal.SIGCONT)
            time.sleep(RUNNING_S)

    thread = Thread(target=stutter)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture
def server(redis_url: str, prefix: str, tmp_path: Path) -> Iterator[Tickwire]:
    yield from run_server(tmp_path, redis_url, prefix, SERVE, TICKWIRE_OVERLOAD_LAG_MS="100")


async def refused(server: Tickwire) -> InvalidStatus | None:
    """How a visitor is refused; None: he is let in."""
    try:
        async with server.dial() as visitor:
            assert (await visitor.receive())["type"] == "welcome"
    except InvalidStatus as refusal:
        return refusal
    return None


async def test_an_overloaded_server_refuses_visitors_with_503_until_it_is_calm(server: Tickwire) -> None:
    key = server.manage("issue_key", "boss", "--create", "--staff")
    async with server.dial() as visitor:
        assert (await visitor.receive())["type"] == "welcome"
        with starved(server):
            async with asyncio.timeout(30):
                while (refusal := await refused(server)) is None:
                    await asyncio.sleep(0.1)
            assert refusal.response.status_code == 503
            assert "handshake" not in server.log.read_text()  # a refusal is no error
            assert 5 <= int(refusal.response.headers["Retry-After"]) <= 15
            async with server.dial(additional_headers={"Authorization": f"Bearer {key}"}, open_timeout=20) as staff:
                async with asyncio.timeout(20):
                    await staff.socket.recv()
        await asyncio.to_thread(wait_for, lambda: server.stats(key)["overload_step"] == 0, server, 30)
        assert server.stats(key)["refused_overload"] >= 1
        assert await refused(server) is None
        assert (await visitor.ask("ping"))["type"] == "pong"
