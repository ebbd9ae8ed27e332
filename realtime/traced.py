"""Tells of updates that are followed when a flush has written them; a hub has this only where tracing is on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from marketdata import hops
from marketdata.hops import Followed, Follower
from marketdata.store import now_us

if TYPE_CHECKING:
    from realtime.cohorts import Entry


class TracedFlushes:
    """Picks what a flush delivers at once. What waits for a rate, or for a slow socket, is not followed further.

    Args:
        follower: who is told.
    """

    def __init__(self, follower: Follower) -> None:
        self._follower = follower

    def begins(self, entries: Iterable[Entry]) -> None:
        """A flush of these begins; it writes before the event loop's next turn."""
        choice, begun_us = self._follower.choice, now_us()
        picked = [
            (found, receivers)
            for entry in entries
            if (receivers := _receivers(entry))
            for item in entry.pending
            if (found := choice(entry.name, entry.epoch, item.seq)) is not None
        ]
        if picked:
            asyncio.get_running_loop().call_soon(self._written, picked, begun_us)

    def _written(self, picked: list[tuple[Followed, int]], begun_us: int) -> None:
        ended_us = now_us()
        for update, receivers in picked:
            self._follower.delivered(update, begun_us, ended_us, receivers)


def _receivers(entry: Entry) -> int:
    """How many sockets take every update of a topic at once."""
    pace = entry.paces.get(None)
    return sum(len(cohort.fast) for cohort in pace.cohorts) if pace is not None else 0


def traced_flushes() -> TracedFlushes | None:
    """What a new hub has."""
    follower = hops.follower()
    return TracedFlushes(follower) if follower is not None else None
