"""One client that stops reading (SIGSTOP) among many: it is told and closed, and nobody else notices."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from marketdata.store import Update
from tests.crowd import SETUP, Crowd
from tests.system.conftest import ROOT, SERVE, Tickwire, run_server

READERS, TOPICS = 150, 50
PER_S, STEP_S = 5000, 0.02
TOPIC_NAMES = [f"trade.S{number:04d}" for number in range(TOPICS)]
BODY = b'{"price":"274.84","size":"8","side":"buy","pad":"%b"}' % (b"x" * 400)


@pytest.fixture
def server(redis_url: str, prefix: str, tmp_path: Path) -> Iterator[Tickwire]:
    ladder = {"TICKWIRE_SLOW_NOTICE_SECONDS": "1", "TICKWIRE_SLOW_CLOSE_SECONDS": "3"}
    yield from run_server(tmp_path, redis_url, prefix, SERVE, plant=SETUP.format(symbols=TOPICS), **ladder)


class Stoppable:
    """A client in a process of its own."""

    def __init__(self, server: Tickwire, topics: Sequence[str]) -> None:
        command = [sys.executable, "-m", "tests.crowd", str(server.port), server.planted, *topics]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "live\n"

    def send(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def end(self) -> dict[str, object]:
        """What it says that it has seen."""
        said, _ = self.process.communicate(timeout=20)
        found: dict[str, object] = json.loads(said)
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def stoppable(server: Tickwire) -> Iterator[Stoppable]:
    client = Stoppable(server, TOPIC_NAMES)
    yield client
    client.close()


@pytest.fixture
def crowd(server: Tickwire) -> Iterator[Crowd]:
    server.store.publish([Update(name, BODY) for name in TOPIC_NAMES])
    found = Crowd(server.port, server.planted, lambda number: [TOPIC_NAMES[number % TOPICS]])
    found.connect(READERS)
    yield found
    found.close()


def publish(server: Tickwire, crowd: Crowd, seconds: float) -> tuple[int, int]:
    """Publish steadily while the crowd reads. Returns how often to each topic, and the most memory that the server had."""
    batch = [Update(name, BODY) for name in TOPIC_NAMES] * int(PER_S * STEP_S / TOPICS)
    steps, peak = round(seconds / STEP_S), 0
    begun = time.monotonic()
    for step in range(steps):
        server.store.publish(batch)
        crowd.run(max(0.001, begun + (step + 1) * STEP_S - time.monotonic()))
        peak = max(peak, server.resident_bytes())
    return steps * len(batch) // TOPICS, peak


def test_a_stopped_reader_is_told_and_closed_and_costs_nobody_anything(
    server: Tickwire, crowd: Crowd, stoppable: Stoppable
) -> None:
    warm, before = publish(server, crowd, 2.0)
    stoppable.send(signal.SIGSTOP)
    more, peak = publish(server, crowd, 6.0)
    published = warm + more
    crowd.until(lambda: crowd.updates == READERS * published)

    assert [reader.updates for reader in crowd.readers] == [published] * READERS
    assert (crowd.faults, crowd.gaps, crowd.ended) == ([], [], [])
    stats = server.stats(server.planted)
    assert (stats["slow_notices"], stats["slow_closed"], stats["slow"], stats["connections"]) == (1, 1, 0, READERS)
    assert peak - before < 3 << 20  # of which the outbox may be one
    stoppable.send(signal.SIGCONT)
    assert stoppable.end()["ended"] in (4008, 1006)
