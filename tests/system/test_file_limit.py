"""A serving process raises its limit of open files, and names the setting that the system has too few for."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.processes import MANAGE, until
from tests.running import Run

Serve = Callable[[int, int], Run]


@pytest.fixture
def serve(redis_url: str, prefix: str, tmp_path: Path) -> Iterator[Serve]:
    """Starts a server for a thousand connections under a soft and a hard limit."""
    runs = []
    env = {
        "TICKWIRE_DATA_DIR": str(tmp_path), "TICKWIRE_REDIS_URL": redis_url, "TICKWIRE_PREFIX": prefix,
        "TICKWIRE_MAX_CONNECTIONS": "1000",
    }  # fmt: skip

    def start(soft: int, hard: int) -> Run:
        line = f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "{sys.executable}" "{MANAGE}" serve --port 0 --drain 0'
        runs.append(Run(["sh", "-c", line], env=env))
        return runs[-1]

    yield start
    for run in runs:
        run.close()


def limits(run: Run) -> tuple[int, int]:
    """The soft and the hard limit that the process has now."""
    found = re.search(r"^Max open files +(\d+) +(\d+)", Path(f"/proc/{run.process.pid}/limits").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]), int(found[2])


def test_a_low_limit_is_raised_to_what_the_connections_need(serve: Serve) -> None:
    run = serve(256, 4096)
    run.read_until("serving on")
    until(lambda: 1000 < limits(run)[0] <= 4096)
    assert "TICKWIRE_MAX_CONNECTIONS" not in run.output


def test_a_system_limit_below_the_connections_is_named(serve: Serve) -> None:
    run = serve(256, 512)
    run.read_until("TICKWIRE_MAX_CONNECTIONS is 1000, but this process may open 512 files only")
    assert limits(run) == (512, 512)
