"""The tests of closed bars and instruments once more, on a PostgreSQL of this test alone."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

HERE = Path(__file__).parent
SUITES = ["test_ingest_bars.py", "test_ingest_instruments.py"]
_BIN = next((str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"))), None)
INITDB, POSTGRES = (shutil.which(name) or shutil.which(name, path=_BIN) for name in ("initdb", "postgres"))

pytestmark = pytest.mark.skipif(not (INITDB and POSTGRES), reason="no PostgreSQL server is installed here")


def _user() -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.getuid():
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        pytest.skip("root, and no user postgres to run the server as")


@pytest.fixture
def database_url() -> Iterator[str]:
    """A server on a Unix socket, without durability."""
    assert INITDB
    assert POSTGRES
    user = _user()
    home = Path(tempfile.mkdtemp(prefix="tickwire-pg-", dir="/tmp"))
    if user:
        shutil.chown(home, user)
    data = home / "data"
    subprocess.run(
        [INITDB, "-D", data, "-U", "tester", "-A", "trust", "-N", "-E", "UTF8"],
        user=user,
        check=True,
        stdout=subprocess.DEVNULL,
        cwd="/",
    )
    server = subprocess.Popen(
        [POSTGRES, "-D", data, "-k", home, "-c", "listen_addresses=", "-c", "fsync=off"],
        user=user,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
    yield f"postgresql://tester@{str(home).replace('/', '%2F')}/postgres"
    server.terminate()
    server.wait(20)
    shutil.rmtree(home, ignore_errors=True)


def _answers(url: str) -> bool:
    for _ in range(100):
        try:
            psycopg.connect(url).close()
            return True
        except psycopg.OperationalError:
            time.sleep(0.05)
    return False


def test_bars_and_instruments_behave_the_same_on_postgresql(database_url: str) -> None:
    assert _answers(database_url)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *(str(HERE / name) for name in SUITES)]
    environ = {**os.environ, "TICKWIRE_DATABASE_URL": database_url}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, cwd=HERE.parents[1])
    assert done.returncode == 0, done.stdout + done.stderr
