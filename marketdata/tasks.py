"""Celery's part of publishing: one beat tick finds the polled feeds that are due, one task asks each."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from celery import shared_task
from django.db import DatabaseError
from kombu.exceptions import OperationalError

from marketdata.errors import MarketDataError
from marketdata.outage import Outage
from marketdata.polling import Polling
from marketdata.roster import ensure_feeds
from marketdata.store import Store

_outage = Outage("polling feeds", logging.getLogger(__name__))
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
def _going_on() -> Iterator[None]:
    """What fails now may succeed at the next tick."""
    try:
        yield
    except (MarketDataError, DatabaseError, OperationalError) as error:
        _outage.failed(error)
    else:
        _outage.over()


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
