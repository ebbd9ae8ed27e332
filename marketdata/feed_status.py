"""What each feed is doing: noted in Redis by the process that runs it, read by anyone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from marketdata.layout import Layout
from marketdata.redis_errors import reachable
from marketdata.store import AsyncStore, Store, now_us

FRESH_US = 10_000_000
_KEPT_S = 3600  # so that the hash of an installation that was switched off goes away


class FeedStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One feed's state.

    Attributes:
        name, kind: as in its row.
        polled: asked by Celery, or streaming in the feed process.
        connected: whether its venue answers.
        healthy: connected, and nothing is wrong with what it says.
        fault: what is wrong otherwise: `disconnected`, `mute` or `garbage`; empty where nothing is.
        standby_for: the feed that this one stands in for.
        symbols: how many it can bring.
        active_symbols: for how many of them it writes now.
        last_event_us: event time of its newest tick.
        ticks: accepted since its process began (polled feeds: since the note began).
        rejected: refused, by ingest or because they are no ticks.
        lost: could not be published, and are not tried again.
        held: kept back because another feed writes.
        duplicates: dropped because they went through before, perhaps by another feed's hand.
        backwards: dropped because they are older than what another feed wrote.
        conflated: replaced by newer ones in a flood.
        shed: given up in a flood.
        flooded: whether it brings more than it may, now.
        waiting: came in and are to be published.
        buffered: wait in ingest until Redis is back; those of all feeds that share its ingest.
        dropped: given up there because too many waited; of all these feeds.
        failures: reconnects, or polls that failed.
        last_error: of the last failure; empty when there was none.
        cadence_s: its usual pause between two words; 0: its silence means nothing.
        heard_us: when it last gave a sign of life, or began to run, if it never did.
        sessions: the calendars by which its instruments trade.
        good_until_us: the note is out of date after that; 0: the feed was stopped on purpose.
    """

    name: str
    kind: str
    polled: bool
    connected: bool = False
    healthy: bool = False
    fault: str = ""
    standby_for: str | None = None
    symbols: int = 0
    active_symbols: int = 0
    last_event_us: int | None = None
    ticks: int = 0
    rejected: int = 0
    lost: int = 0
    held: int = 0
    duplicates: int = 0
    backwards: int = 0
    conflated: int = 0
    shed: int = 0
    flooded: bool = False
    waiting: int = 0
    buffered: int = 0
    dropped: int = 0
    failures: int = 0
    last_error: str = ""
    cadence_s: float = 0.0
    heard_us: int = 0
    sessions: list[str] = []
    good_until_us: int = 0


def feed_statuses(store: Store) -> list[FeedStatus]:
    """The state of each feed that runs anywhere, by name.

    Raises:
        StoreUnavailable: Redis did not answer.
    """
    return fresh(noted_statuses(store))


def noted_statuses(store: Store) -> list[FeedStatus]:
    """The last note about each feed that was not stopped on purpose, however old; by name.

    Raises:
        StoreUnavailable: Redis did not answer.
    """
    with reachable():
        noted: Mapping[Any, Any] = store.client.hgetall(_key(store.layout))
    return [status for status in map(_read, (value for _, value in sorted(noted.items()))) if status.good_until_us]


def fresh(statuses: Iterable[FeedStatus]) -> list[FeedStatus]:
    """Those that are not out of date."""
    return [status for status in statuses if status.good_until_us > now_us()]


def feed_status(store: Store, name: str) -> FeedStatus | None:
    """The last note about one feed, however old.

    Raises:
        StoreUnavailable: Redis did not answer.
    """
    with reachable():
        noted = store.client.hget(_key(store.layout), name)
    return _read(noted) if noted else None


def note_status(store: Store, status: FeedStatus) -> None:
    """Note the state of one feed.

    Raises:
        StoreUnavailable: Redis did not answer.
    """
    with reachable(), store.client.pipeline(transaction=False) as pipe:
        pipe.hset(_key(store.layout), mapping=_fields([status]))
        pipe.expire(_key(store.layout), _KEPT_S)
        pipe.execute()


async def anote_statuses(store: AsyncStore, statuses: Sequence[FeedStatus]) -> None:
    """Note the state of many feeds; see `note_status`."""
    if not statuses:
        return
    with reachable():
        async with store.client.pipeline(transaction=False) as pipe:
            pipe.hset(_key(store.layout), mapping=_fields(statuses))
            pipe.expire(_key(store.layout), _KEPT_S)
            await pipe.execute()


def _key(layout: Layout) -> str:
    return f"{layout.prefix}:feeds"


_read = msgspec.json.Decoder(FeedStatus).decode


def _fields(statuses: Sequence[FeedStatus]) -> Mapping[Any, Any]:
    return {status.name: msgspec.json.encode(status) for status in statuses}
