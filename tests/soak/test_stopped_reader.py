"""One reader of a thousand is stopped (SIGSTOP) for a minute of 5000 updates a second."""

from __future__ import annotations

import signal
import time
from array import array
from statistics import median

import pytest

from benchmarks import machine
from benchmarks.figures import percentile
from marketdata.store import Update
from tests.crowd import Crowd
from tests.soak.conftest import SYMBOLS, Start, names, publishing, report
from tests.system.conftest import Tickwire
from tests.system.test_stopped_reader import Stoppable

pytestmark = [pytest.mark.soak, pytest.mark.timeout(240)]

READERS, PER_S = 1000, 5000
WINDOW_S, WINDOWS = 1.0, {"before": 15, "stopped": 60, "after": 15}


@pytest.fixture
def server(start: Start) -> Tickwire:
    return start(TICKWIRE_SLOW_CLOSE_SECONDS="200")  # so it stays until it has answered no WebSocket ping, some 40 s


class Watch:
    """The server's memory, and how old every update was when it was read, in windows.

    Ages are reckoned in the end, because updates would wait meanwhile.
    """

    def __init__(self, server: Tickwire, crowd: Crowd) -> None:
        self.server, self.crowd = server, crowd
        self.windows: list[array[int]] = []
        self.memory: list[int] = []

    def run(self, windows: int) -> Watch:
        for _ in range(windows):
            ages = array("q")  # a list would keep the garbage collector busy, and the clients waiting
            for reader in self.crowd.readers:
                reader.ages_us = ages
            self.crowd.run(WINDOW_S)
            self.windows.append(ages)
            self.memory.append(self.server.resident_bytes())
        return self

    def p99_ms(self) -> list[float]:
        """The 99th percentile of each window."""
        return [round(percentile(ages, 99) / 1000, 2) for ages in self.windows]


class Outside:
    """How much of the server's core went to something else."""

    def __init__(self, server: Tickwire) -> None:
        assert server.process is not None
        self.pid = server.process.pid
        self.begun, self.busy_s = time.monotonic(), self._busy_s()

    def _busy_s(self) -> float:
        return machine.core_busy_s(machine.SERVER_CORE) - machine.cpu_s(self.pid)

    def percent(self) -> float:
        return 100 * max(0.0, self._busy_s() - self.busy_s) / (time.monotonic() - self.begun)


def test_a_stopped_reader_among_a_thousand(server: Tickwire) -> None:
    server.store.publish([Update(name, b'{"ts":0}') for name in names(SYMBOLS)])
    stoppable = Stoppable(server, names(SYMBOLS))
    crowd = Crowd(server.port, server.planted, lambda number: names(SYMBOLS)[number % SYMBOLS :][:1])
    crowd.connect(READERS)
    with publishing(server, SYMBOLS) as source:
        source.set_rate(PER_S)
        crowd.run(5.0)
        outside = Outside(server)
        before = Watch(server, crowd).run(WINDOWS["before"])
        stoppable.send(signal.SIGSTOP)
        stopped = Watch(server, crowd).run(WINDOWS["stopped"])
        stoppable.send(signal.SIGCONT)
        crowd.run(2.0)
        after = Watch(server, crowd).run(WINDOWS["after"])
        disturbed = outside.percent()
        published = source.stop()
    due = published // SYMBOLS * READERS
    crowd.until(lambda: crowd.updates >= due)
    stats = server.stats(server.planted)
    stoppable.close()
    crowd.close()

    grown = max(stopped.memory) - before.memory[-1]
    windows = {"before": before.p99_ms(), "stopped": stopped.p99_ms(), "after": after.p99_ms()}
    without, with_it = (median(found) for found in (windows["before"] + windows["after"], windows["stopped"]))
    report(
        "stopped reader",
        readers=READERS,
        updates_per_s=PER_S,
        stopped_s=WINDOWS["stopped"] * WINDOW_S,
        p99_ms_without=without,
        p99_ms_with=with_it,
        p99_ratio=with_it / without,
        grown_kib=grown // 1024,
        told=stats.get("slow_notices"),
        disturbed_percent=disturbed,
        windows_ms=windows,
    )
    assert (crowd.faults, crowd.gaps, crowd.ended) == ([], [], [])
    assert stats["slow_notices"] == 1
    assert grown < 3 << 20  # of which the outbox may be one
    assert with_it <= 1.1 * without + 0.5
