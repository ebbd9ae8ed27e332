"""Celery's part of alerting: beat's tick evaluates the rules."""

from __future__ import annotations

import logging
import threading
from functools import cache

from celery import shared_task
from django.db import DatabaseError

from marketdata.errors import MarketDataError
from marketdata.outage import Outage
from marketdata.store import Store
from monitoring.evaluation import Evaluator

_outage = Outage("evaluating alert rules", logging.getLogger(__name__))
_alone = threading.Lock()  # a worker may have several threads


@cache
def _evaluator() -> Evaluator:
    """This process's, made by its first task: after a fork, so that no connection is shared."""
    return Evaluator(Store.from_settings())


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]  # celery ships no types
def evaluate_alerts() -> None:
    """Evaluate all rules, unless somebody else does."""
    if not _alone.acquire(blocking=False):
        return
    try:
        _evaluator().round()
    except (MarketDataError, DatabaseError) as error:  # the next tick may be luckier
        _outage.failed(error)
    else:
        _outage.over()
    finally:
        _alone.release()
