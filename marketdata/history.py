"""Klines for readers: bars at rest joined with the store's recent and open ones, without hole or duplicate."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from marketdata import bars
from marketdata.as_of import AsOf
from marketdata.errors import StoreUnavailable
from marketdata.memory_store import MemoryStore
from marketdata.reads import Reads
from marketdata.store import Store
from marketdata.ticks import Kline, body
from marketdata.topics import DataType, Interval, Topic

Readable = Store | Reads | MemoryStore | AsOf
ALWAYS_US = 1 << 62
FEW, ALL = 100, 1000  # updates of the store: what mostly reaches back to the bars at rest, and the most that are kept


class Page(NamedTuple):
    """Bars of one symbol and interval.

    Attributes:
        bodies: oldest first.
        older_us: `end_us` of the page of older bars; None where there is none.
        stale: the store could not be asked: the open bar is missing, and perhaps the newest closed ones.
    """

    bodies: list[bytes]
    older_us: int | None
    stale: bool = False


class _Bar(NamedTuple):
    revision: int
    body: bytes


class _Head(msgspec.Struct):
    """What must be known of a body to put it into its place."""

    open_time: int
    revision: int


_head = msgspec.json.Decoder(_Head).decode


def klines(
    store: Readable, symbol: str, interval: Interval, *, start_us: int = 0, end_us: int = ALWAYS_US, limit: int = 500
) -> Page:
    """The newest `limit` bars that opened in `[start_us, end_us)`.

    A bar closes in the store first and is saved a moment later, so the newest bars at rest may be missing; the store's
    updates fill that in. Where both have a bar, the store's is taken unless it is an earlier revision. As of an earlier moment
    the bars at rest are those that ended by then, and the store's is taken in any case: a revision may have come later.

    Raises:
        StoreUnavailable: Redis did not answer, and there are no bars at rest.
    """
    until_us = store.until_us if isinstance(store, AsOf) else None
    at_rest = {bar.open_time: bar for bar in _at_rest(symbol, interval, start_us, end_us, limit + 1, until_us)}
    joint_us = max(at_rest) + interval.length_us if at_rest else 0
    try:
        recent, stale = _recent(store, Topic(DataType.KLINE, symbol, interval), joint_us, end_us), False
    except StoreUnavailable:
        if not at_rest:
            raise
        recent, stale = {}, True
    newer = {
        open_time: bar.body
        for open_time, bar in recent.items()
        if start_us <= open_time < end_us
        and (until_us is not None or open_time not in at_rest or bar.revision >= at_rest[open_time].revision)
    }
    times = sorted(at_rest.keys() | newer)
    page = times[-limit:]
    bodies = [newer[time] if time in newer else body(at_rest[time]) for time in page]
    return Page(bodies, page[0] if len(times) > limit else None, stale)


def _at_rest(symbol: str, interval: Interval, start_us: int, end_us: int, limit: int, until_us: int | None) -> list[Kline]:
    if until_us is None:
        return bars.load(symbol, interval, start_us, end_us, limit)
    found = bars.load(symbol, interval, start_us, min(end_us, until_us), limit + 1)  # the last of them was open then
    return [bar for bar in found if bar.close_time <= until_us][-limit:]


def _recent(store: Readable, topic: Topic, joint_us: int, end_us: int) -> dict[int, _Bar]:
    """The last state of each bar in the store, back to the bar that opened at `joint_us` or as far as the store goes.

    Where the bars at rest reach the end of the page, it is enough to see that the store has gone on behind it.
    """
    recent: dict[int, _Bar] = {}
    for count in (FEW, ALL):
        updates = store.history(str(topic), limit=count, newest=True).updates
        recent = {}
        for update in updates:
            head = _head(update.body)
            recent[head.open_time] = _Bar(head.revision, update.body)
        newer = [open_time for open_time in recent if open_time >= joint_us]
        if len(updates) < count or not newer or min(newer) == joint_us or end_us <= min(joint_us, *recent):
            break
    return recent
