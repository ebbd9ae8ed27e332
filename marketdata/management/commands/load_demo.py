"""`manage.py load_demo`: the demo's instruments, feeds and past; what is there already stays as it is."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.db.models import QuerySet

from marketdata import bars, demo
from marketdata.errors import FeedError
from marketdata.feeds import FeedSettings
from marketdata.feeds.market import GENESIS_US
from marketdata.feeds.past import Source, past_bar
from marketdata.feeds.simulated import sources
from marketdata.instruments import list_instruments
from marketdata.models import Feed, Kline
from marketdata.roster import ensure_feeds
from marketdata.store import now_us
from marketdata.topics import Interval


class Command(BaseCommand):
    """Load the demo."""

    help = "Loads the demo's instruments, feeds and past bars; adds only what is missing."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            ensure_feeds()
            row = Feed.objects.filter(kind="demo").first()
            chosen = sources(FeedSettings(options=row.options if row else {}))
            list_instruments([source.listing for source in chosen])
            added = _add_real_bars() + _add_simulated_bars(chosen, now_us())
        except (FeedError, FileNotFoundError) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"Demo: {len(chosen)} instruments, {added} bars added.")


def _add_real_bars() -> int:
    if _known(demo.REAL[0], Interval.D1, range(GENESIS_US)).exists():
        return 0
    real = demo.real_bars()
    with transaction.atomic():  # all or nothing, so that one tells that all are there
        bars.save(real)
    return len(real)


def _add_simulated_bars(chosen: list[Source], now: int) -> int:
    added = 0
    for source in chosen:
        symbol = source.listing.symbol
        made = [
            past_bar(source, interval, open_time)
            for interval in Interval
            for open_time in _missing(symbol, interval, demo.past_opens(symbol, interval, now))
        ]
        bars.save(made)
        added += len(made)
    return added


def _missing(symbol: str, interval: Interval, opens: range) -> list[int]:
    rows = _known(symbol, interval, opens)
    if rows.count() == len(opens):
        return []
    known = set(rows.values_list("open_time", flat=True))
    return [open_time for open_time in opens if open_time not in known]


def _known(symbol: str, interval: Interval, opens: range) -> QuerySet[Kline]:
    return Kline.objects.filter(symbol=symbol, interval=interval, open_time__gte=opens.start, open_time__lt=opens.stop)
