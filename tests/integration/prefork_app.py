"""Tickwire's Celery application with a store that its worker has used before it forks; for a test of prefork workers."""

from __future__ import annotations

import os
from typing import Any

from celery import signals

from marketdata.store import Store, Update
from project.celery import app

TASKS, BATCHES = 30, 20
SHARED = "trade.SHARED"

store = Store.from_settings()


@signals.worker_init.connect
def before(**_: Any) -> None:
    """Use the store in the process that is to be forked."""
    store.publish([Update("trade.BEFORE", b"{}")])


@app.task(name="tests.publish", ignore_result=True)
def publish(name: str) -> None:
    """Two updates a batch: one to a topic of its own, one to everybody's. An answer to somebody else would be seen."""
    for number in range(1, BATCHES + 1):
        seqs = store.publish([Update(f"trade.{name}", b"{}"), Update(SHARED, b'{"pid":%d}' % os.getpid())])
        assert seqs[0] == number, f"{name}: an answer to somebody else: {seqs}"


@signals.worker_ready.connect
def begin(**_: Any) -> None:
    """Give the children work, and publish in their parent meanwhile."""
    for number in range(TASKS):
        publish.delay(f"TASK{number}")
    publish("PARENT")
