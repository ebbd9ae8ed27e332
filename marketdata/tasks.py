"""Celery's part of publishing: one beat tick finds the polled feeds that are due, one task asks each."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache

from celery import shared_task
from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone
from kombu.exceptions import OperationalError

from marketdata import journal
from marketdata.errors import MarketDataError
from marketdata.outage import Outage
from marketdata.polling import Polling
from marketdata.roster import ensure_feeds
from marketdata.store import Store

logger = logging.getLogger(__name__)

_outage = Outage("polling feeds", logger)
_forgetting = Outage("shortening the audit log", logger)
_making = threading.Lock()


@cache
def _make_polling() -> Polling:
    ensure_feeds()
    return Polling(Store.from_settings())


def _polling() -> Polling:
    """This process's polling, made by its first task: after a fork, so that no connection is shared."""
    with _making:
        return _make_polling()


@contextmanager
def _going_on(outage: Outage | None = None) -> Iterator[None]:
    """What fails now may succeed at the next tick."""
    outage = outage or _outage
    try:
        yield
    except (MarketDataError, DatabaseError, OperationalError) as error:
        outage.failed(error)
    else:
        outage.over()


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]  # celery ships no types
def publish_market_data() -> None:
    """The beat tick: have each feed asked that is due."""
    with _going_on():
        for feed in _polling().due():
            poll_feed.apply_async((feed.name,), expires=feed.interval_s)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]  # celery ships no types
def poll_feed(name: str) -> None:
    """Ask one feed and publish what it says."""
    with _going_on():
        _polling().poll(name)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]  # celery ships no types
def shorten_journal() -> None:
    """Let go of entries of the audit log that are older than `TICKWIRE_AUDIT_DAYS`."""
    if not (days := settings.TICKWIRE.observing.audit_days):
        return
    with _going_on(_forgetting):
        if gone := journal.forget(timezone.now() - timedelta(days=days)):
            logger.info("%d entries of the audit log were older than %d days, and are gone", gone, days)
