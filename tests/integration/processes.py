"""Our processes as a test starts them: each test has a database, a key prefix and its own copies."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from marketdata.feed_status import FeedStatus, feed_statuses
from marketdata.layout import Layout
from marketdata.store import Stamped, Store
from tests.running import PATIENCE_S, ROOT, Run

MANAGE = str(ROOT / "manage.py")


class Copy:
    """An installation: a data folder with a migrated database, a prefix, and the processes that a test started in it."""

    def __init__(self, folder: Path, migrated: Path, redis_url: str, prefix: str) -> None:
        self.folder = folder
        self.database = Path(shutil.copy(migrated, folder / "tickwire.sqlite3"))
        self.env = {"TICKWIRE_DATA_DIR": str(folder), "TICKWIRE_REDIS_URL": redis_url, "TICKWIRE_PREFIX": prefix}
        self.store = Store(redis_url, Layout(prefix))
        self.runs: list[Run] = []

    def manage(self, *arguments: str, **settings: str) -> Run:
        return self._run([sys.executable, MANAGE, *arguments], settings)

    def celery(self, *arguments: str, app: str = "project", **settings: str) -> Run:
        return self._run([sys.executable, "-m", "celery", "-A", app, *arguments], settings)

    def _run(self, argv: list[str], settings: dict[str, str]) -> Run:
        self.runs.append(Run(argv, env=self.env | settings))
        return self.runs[-1]

    def sql(self, statement: str) -> list[Any]:
        with sqlite3.connect(self.database, timeout=10) as connection:
            rows = connection.execute(statement).fetchall()
        connection.close()
        return rows

    def latest(self, topic: str) -> Stamped | None:
        return self.store.latest([topic])[0]

    def seq(self, topic: str) -> int:
        latest = self.latest(topic)
        return latest.seq if latest else 0

    def statuses(self) -> dict[str, FeedStatus]:
        return {status.name: status for status in feed_statuses(self.store)}

    def close(self) -> None:
        for run in self.runs:
            run.close()
        self.store.close()


def migrate(folder: Path) -> Path:
    """A database with tables, to be copied."""
    subprocess.run([sys.executable, MANAGE, "migrate", "-v0"], env={**os.environ, "TICKWIRE_DATA_DIR": str(folder)}, check=True)
    return folder / "tickwire.sqlite3"


def until(condition: Callable[[], Any], within_s: float = PATIENCE_S) -> Any:
    """Wait until the condition gives something true."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found
