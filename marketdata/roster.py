"""Which feeds run here, with which settings: what `TICKWIRE_FEEDS` names and the admin's rows allow."""

from __future__ import annotations

import json
from dataclasses import dataclass

from django.conf import settings

from marketdata import feeds
from marketdata.errors import BadFeedOptions
from marketdata.feeds import Feed, FeedSettings, FeedWithPast
from marketdata.instruments import instruments, list_instruments
from marketdata.models import Feed as Row
from marketdata.priming import prime
from marketdata.store import Store, now_us


@dataclass(frozen=True)
class Entry:
    """One feed that shall run. Two entries that are equal run alike."""

    name: str
    kind: str
    settings: FeedSettings


def ensure_feeds() -> None:
    """Make sure that each kind that `TICKWIRE_FEEDS` names has a row; its first options come from `TICKWIRE_FEED_OPTIONS`.

    Raises:
        BadFeedOptions: a setting names a kind that does not exist or does not run here.
    """
    kinds, options = _kinds(), json.loads(settings.TICKWIRE.sources.feed_options)
    if stray := sorted(set(options) - set(kinds)):
        raise BadFeedOptions(f"TICKWIRE_FEED_OPTIONS: TICKWIRE_FEEDS does not name {stray[0]!r}")
    rows = [Row(name=kind, kind=kind, options=options.get(kind, {})) for kind in kinds]
    Row.objects.bulk_create(rows, ignore_conflicts=True)


def polled() -> list[Entry]:
    """The enabled feeds that are asked, by name. One query."""
    return _enabled([kind for kind in _kinds() if feeds.is_polled(kind)])


def streaming() -> list[Entry]:
    """The enabled feeds that stream, by name. One query."""
    return _enabled([kind for kind in _kinds() if not feeds.is_polled(kind)])


def make_feed(entry: Entry, store: Store) -> Feed:
    """Make an entry's feed, list its instruments, and begin their bars where the feed knows the past.

    Raises:
        BadFeedOptions: the kind refuses its settings.
        StoreUnavailable: Redis did not answer.
    """
    feed = feeds.make(entry.kind, entry.settings)
    list_instruments(feed.listings())
    instruments().refresh()
    if isinstance(feed, FeedWithPast):
        prime(store, feed, feed.listings(), instruments(), now_us())
    return feed


def _kinds() -> list[str]:
    return feeds.kinds(settings.TICKWIRE.sources.feeds)


def _enabled(kinds: list[str]) -> list[Entry]:
    return [_entry(row) for row in Row.objects.filter(kind__in=kinds, enabled=True)]


def _entry(row: Row) -> Entry:
    interval_s = row.interval_ms / 1000 if row.interval_ms else None
    return Entry(row.name, row.kind, FeedSettings(tuple(row.symbols), interval_s, row.options))
