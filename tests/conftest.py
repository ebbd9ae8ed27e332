"""Fixtures that every test may use: a real Redis, and settings that point at it."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_home = tempfile.mkdtemp(prefix="tickwire-test-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)
os.environ["TICKWIRE_DATA_DIR"] = _home
os.environ["TICKWIRE_REDIS_URL"] = f"unix://{_home}/redis.sock"
os.environ["TICKWIRE_LOG_FORMAT"] = "console"  # people read what a test that failed printed

import itertools
import subprocess
import time
from collections.abc import Iterator

import pytest
import redis
from django.db import connections

from project.redis_server import binary

_prefixes = itertools.count()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real Redis of this test process alone, on a Unix socket."""
    socket = Path(_home) / "redis.sock"
    server = subprocess.Popen(
        [binary(), "--port", "0", "--unixsocket", str(socket), "--dir", _home, "--save", "", "--appendonly", "no"],
        stdout=subprocess.DEVNULL,
    )
    client = redis.Redis(unix_socket_path=str(socket))
    for _ in range(200):
        try:
            client.ping()
            break
        except redis.ConnectionError:
            time.sleep(0.02)
    client.close()
    yield f"unix://{socket}"
    server.terminate()
    server.wait(10)


class Clock:
    """A wall clock that goes on when a test says so."""

    def __init__(self) -> None:
        self.us = 1_800_000_000_000_000

    def time_ns(self) -> int:
        return self.us * 1000

    def pass_s(self, seconds: float) -> None:
        self.us += round(seconds * 1e6)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What store and hub go by."""
    found = Clock()
    monkeypatch.setattr("marketdata.store.time", found)
    return found


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> None:
    """Reading locks nothing: in a database in memory that threads share, who finds a table locked does not wait, but fails."""
    if connections["default"].vendor == "sqlite":
        connections["default"].settings_dict["OPTIONS"]["init_command"] += "; PRAGMA read_uncommitted=1"


@pytest.fixture
def prefix() -> str:
    """A key and channel prefix that no other test uses."""
    return f"t{os.getpid()}-{next(_prefixes)}"
