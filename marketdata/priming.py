"""Begins the bars of instruments whose feed knows how the day went, so that the first day is a whole one.

Nothing is published: the bars in progress are put where ingest finds them, and the first live trade continues them. Bars that
stood still for `STALE_US` are begun again in the same way, else the time that nobody listened would be filled with flat ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from marketdata.barbook import state_key
from marketdata.batch import State
from marketdata.errors import Conflict
from marketdata.feeds import FeedWithPast, Listing
from marketdata.instruments import Instruments
from marketdata.klines import Bars, bucket
from marketdata.memory_store import MemoryStore
from marketdata.store import Store
from marketdata.topics import Interval

STALE_US = 120_000_000


def prime(store: Store | MemoryStore, feed: FeedWithPast, listings: Sequence[Listing], known: Instruments, now_us: int) -> int:
    """Begin the bars of a feed's instruments where there are none, or old ones.

    Args:
        store: where the bars are.
        feed: tells how the day went.
        listings: its instruments.
        known: instruments as the operator has them.
        now_us: the present.

    Returns:
        How many instruments got bars.

    Raises:
        StoreUnavailable: Redis did not answer.
    """
    primed = 0
    states = store.load([state_key(listing.symbol) for listing in listings])
    for listing, state in zip(listings, states, strict=True):
        if not _stands_still(state, now_us):
            continue
        instrument = known.find(listing.symbol)
        bars = Bars(listing.symbol, instrument.session if instrument else listing.session)
        start_us, _ = bucket(now_us, Interval.D1, bars.session)
        bars.apply(feed.past(listing.symbol, start_us, now_us))
        with suppress(Conflict):  # somebody else was quicker
            store.publish([], [state._replace(value=bars.dump())])
            primed += 1
    return primed


def _stands_still(state: State, now_us: int) -> bool:
    if not state.version:
        return True
    try:
        return Bars.load(state.value).newest_us < now_us - STALE_US
    except ValueError:  # of another version; ingest would begin anew as well
        return True
