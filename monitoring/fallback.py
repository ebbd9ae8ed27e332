"""Evaluates the alert rules in a serving process while Celery does not: that beat has died is itself an alert."""

from __future__ import annotations

import logging
import random
import threading
import time

from django.db import DatabaseError, connections

from marketdata.errors import MarketDataError
from marketdata.outage import Outage
from marketdata.store import Store
from monitoring.alerts import ROUND_S
from monitoring.evaluation import Evaluator

logger = logging.getLogger(__name__)

PATIENCE_S = 15.0  # without an evaluation
WAIT_S = 2.0  # for Redis


class Fallback:
    """A thread that looks whether somebody evaluates, and does so itself when nobody did for `PATIENCE_S`; then each time, until
    somebody else does again. That long it also waits after its own start, when Celery may not have begun yet.

    Args:
        evaluator: None: one of its own.
        every_s, patience_s: for tests.
    """

    def __init__(self, evaluator: Evaluator | None = None, every_s: float = ROUND_S, patience_s: float = PATIENCE_S) -> None:
        self._evaluator = evaluator
        self._every_s, self._patience_s = every_s, patience_s
        self._began = time.monotonic()
        self._outage = Outage("evaluating alert rules", logger)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no longer. Who evaluates just now is not waited for: the next one finds what it wrote."""
        self._stopping.set()

    def _run(self) -> None:
        evaluator = self._evaluator or Evaluator(Store.from_settings(WAIT_S))
        while not self._stopping.wait(self._every_s * random.uniform(0.8, 1.2)):  # noqa: S311  # not all at once
            try:
                evaluator.learn()
                if min(evaluator.age_s(), time.monotonic() - self._began) > self._patience_s:
                    evaluator.round()
                self._outage.over()
            except (MarketDataError, DatabaseError) as error:
                self._outage.failed(error)
            except Exception as error:  # the next look may be better
                self._outage.failed(error, foreseen=False)
            finally:
                connections.close_all()
