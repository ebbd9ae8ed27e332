"""A server on a core of its own, a publishing process beside it, and figures that are printed."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from benchmarks import machine
from benchmarks.servers import Source, started
from tests.crowd import SETUP
from tests.system.conftest import Tickwire, run_server

SYMBOLS = 200  # as many as one command may name
DRAIN_S = 5
SERVE = ["manage.py", "serve", "--port", "{port}", "--drain", str(DRAIN_S)]

Start = Callable[..., Tickwire]


@pytest.fixture
def _client_core(redis_url: str) -> Iterator[None]:
    """Redis and this process, which is the clients, stay off the server's core."""
    with redis.Redis.from_url(redis_url) as client:
        os.sched_setaffinity(client.info("server")["process_id"], {machine.CLIENT_CORE})
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {machine.CLIENT_CORE})
    gc.collect()
    gc.freeze()  # what the test runner has loaded would keep the clients waiting at every collection
    yield
    gc.unfreeze()
    os.sched_setaffinity(0, before)


@pytest.fixture
def start(_client_core: None, redis_url: str, prefix: str, tmp_path: Path) -> Iterator[Start]:
    """Starts the server, with settings; `planted` is the key of a member of staff whose plan limits nothing."""
    with ExitStack() as stack:

        def serve(**settings: str) -> Tickwire:
            run = contextmanager(run_server)
            server = stack.enter_context(run(tmp_path, redis_url, prefix, SERVE, plant=SETUP.format(symbols=SYMBOLS), **settings))
            assert server.process is not None
            os.sched_setaffinity(server.process.pid, {machine.SERVER_CORE})
            return server

        yield serve


@contextmanager
def publishing(server: Tickwire, topics: int) -> Iterator[Source]:
    """A process that publishes trades to the first topics, in turn; see `benchmarks.source`."""
    address = f"{server.environ['TICKWIRE_REDIS_URL']}|{server.environ['TICKWIRE_PREFIX']}"
    command = [sys.executable, "-m", "benchmarks.source", "tickwire", address, str(topics)]
    with started(command, core=machine.CLIENT_CORE, heard=True) as process:
        yield Source(process)


def names(count: int, kind: str = "trade") -> list[str]:
    """The first topics."""
    return [f"{kind}.S{number:04d}" for number in range(count)]


def report(name: str, **figures: Any) -> None:
    """Print what a test found as one line of JSON."""
    rounded = {key: round(value, 3) if isinstance(value, float) else value for key, value in figures.items()}
    print(json.dumps({"soak": name, **rounded}), flush=True)  # noqa: T201
