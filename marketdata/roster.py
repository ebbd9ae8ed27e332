"""Which feeds run here, with which settings: what `TICKWIRE_FEEDS` names and the admin's rows allow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from django.conf import settings

from marketdata import feeds
from marketdata.errors import BadFeedOptions
from marketdata.feeds import Feed, FeedSettings, FeedWithPast
from marketdata.inflow import MOST_PER_S
from marketdata.instruments import instruments, list_instruments
from marketdata.models import Feed as Row
from marketdata.priming import prime
from marketdata.store import Store, now_us

HOLD_S = 30.0


@dataclass(frozen=True)
class Entry:
    """One feed that shall run. Two entries that are equal run alike."""

    name: str
    kind: str
    settings: FeedSettings
    standby_for: str | None = None
    hold_s: float = HOLD_S
    most_per_s: int = MOST_PER_S
    derives_as: str = ""  # a standby's trades become what its primary's do: that one's kind
    flaw: str = ""  # why it must not run


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
        BadFeedOptions: the kind refuses its settings, or it stands in for what it cannot.
        StoreUnavailable: Redis did not answer.
    """
    if entry.flaw:
        raise BadFeedOptions(entry.flaw)
    feed = feeds.make(entry.kind, entry.settings)
    list_instruments(feed.listings())
    instruments().refresh()
    if isinstance(feed, FeedWithPast):
        prime(store, feed, feed.listings(), instruments(), now_us())
    return feed


def _kinds() -> list[str]:
    return feeds.kinds(settings.TICKWIRE.sources.feeds)


def standby_flaw(name: str, kind: str, standby_for: str | None, others: Mapping[str, Row]) -> str:
    """Why a feed must not stand in for another; empty when it may.

    Args:
        name, kind, standby_for: of the feed.
        others: feeds' rows by name; whether the feed itself is among them does not matter.
    """
    if not standby_for:
        return ""
    primary = others.get(standby_for)
    if standby_for == name:
        wrong = "a feed cannot stand in for itself"
    elif primary is None:
        wrong = f"there is no feed {standby_for!r}"
    elif primary.standby_for:
        wrong = f"{standby_for!r} is a standby itself, of {primary.standby_for!r}"
    elif feeds.is_polled(kind) or feeds.is_polled(primary.kind):
        wrong = "feeds that are polled have no standby, and are none"
    else:
        return ""
    return f"standby_for: {wrong}"


def _enabled(kinds: list[str]) -> list[Entry]:
    rows = {row.name: row for row in Row.objects.all()}
    return [_entry(row, rows) for row in rows.values() if row.enabled and row.kind in kinds]


def _entry(row: Row, rows: Mapping[str, Row]) -> Entry:
    interval_s = row.interval_ms / 1000 if row.interval_ms else None
    primary = rows.get(row.standby_for or "")
    return Entry(
        row.name,
        row.kind,
        FeedSettings(tuple(row.symbols), interval_s, row.options),
        standby_for=row.standby_for,
        hold_s=row.hold_s,
        most_per_s=row.most_per_s or settings.TICKWIRE.sources.feed_ticks_per_s,
        derives_as=primary.kind if primary else "",
        flaw=standby_flaw(row.name, row.kind, row.standby_for, rows),
    )
