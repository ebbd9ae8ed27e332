"""A PostgreSQL of one's own for a while, from Debian's package `postgresql`; the benchmark and the tests start it here."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

_BIN = max((str(path) for path in Path("/usr/lib/postgresql").glob("*/bin")), default=None)  # Debian keeps it off the path
INITDB, POSTGRES = (shutil.which(name) or shutil.which(name, path=_BIN) for name in ("initdb", "postgres"))
STARTS_S = 30.0


def missing() -> str | None:
    """What must be installed or made before a server can be started; None: nothing."""
    if not (INITDB and POSTGRES):
        return "PostgreSQL's server is not installed"
    try:
        _user()
    except KeyError:
        return "PostgreSQL refuses to run as root, and there is no user postgres"
    return None


def _user() -> str | None:
    """Whom the server runs as, where it cannot run as we do."""
    return None if os.getuid() else pwd.getpwnam("postgres").pw_name


@contextmanager
def server(before: Callable[[], None] | None = None, **options: str) -> Iterator[str]:
    """A server on a Unix socket, without durability: its address, as `TICKWIRE_DATABASE_URL` takes it.

    Args:
        before: done in the server's process before it starts.
        options: of its configuration.

    Raises:
        TimeoutError: it does not answer.
    """
    assert INITDB
    assert POSTGRES
    user = _user()
    home = Path(tempfile.mkdtemp(prefix="tickwire-pg-", dir="/tmp"))
    if user:
        shutil.chown(home, user)
    try:
        subprocess.run(
            [INITDB, "-D", home / "data", "-U", "tester", "-A", "trust", "-N", "-E", "UTF8"],
            user=user, check=True, stdout=subprocess.DEVNULL, cwd="/",
        )  # fmt: skip
        settings = {"listen_addresses": "", "fsync": "off", **options}
        command = [POSTGRES, "-D", home / "data", "-k", home, *(f"--{name}={value}" for name, value in settings.items())]
        process = subprocess.Popen(command, user=user, stderr=subprocess.DEVNULL, cwd="/", preexec_fn=before)
        try:
            url = f"postgresql://tester@{str(home).replace('/', '%2F')}/postgres"
            _wait_for(url, process)
            yield url
        finally:
            _end(process)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + STARTS_S
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > ends:
                raise TimeoutError(f"PostgreSQL does not answer: {error}") from None
            time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop it, without waiting for those who are still connected; by force where it does not."""
    for number, within_s in ((signal.SIGINT, 20), (signal.SIGQUIT, 10)):
        process.send_signal(number)
        try:
            process.wait(within_s)
            return
        except subprocess.TimeoutExpired:
            continue
