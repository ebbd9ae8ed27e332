"""The tests of closed bars, instruments, klines over REST and usage once more, on a PostgreSQL of this test alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import postgresql

HERE = Path(__file__).parent
SUITES = ["test_ingest_bars.py", "test_ingest_instruments.py", "rest/test_klines.py", "test_usage.py"]


@pytest.mark.skipif(postgresql.missing() is not None, reason=str(postgresql.missing()))
def test_bars_instruments_klines_and_usage_behave_the_same_on_postgresql() -> None:
    with postgresql.server() as url:
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *(str(HERE / name) for name in SUITES)]
        environ = {**os.environ, "TICKWIRE_DATABASE_URL": url}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, cwd=HERE.parents[1])
    assert done.returncode == 0, done.stdout + done.stderr
