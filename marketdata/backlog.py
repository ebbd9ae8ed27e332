"""Ticks that wait for the store: in order, within a bound, and counted where they no longer fit.

When more wait than allowed, these go, oldest first and one kind after the other:
1. values of latest topics that a newer waiting one has replaced: conflated, as it happens to slow clients too;
2. newest values of latest topics;
3. ticks of every topics, each of which matters.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from heapq import heappop, heappush
from itertools import islice

from marketdata.ticks import Kline, Tick, Trade, body

MOST_UPDATES = 50_000
MOST_BYTES = 1 << 24
ODD_BYTES = 200

_Latest = tuple[type, str, object]  # what tells a latest topic from others


class Backlog:
    """Ticks that wait.

    Attributes:
        bytes: size of what waits, as bodies; a tick takes some four times as much memory.
        conflated: ticks left out because a newer one of their latest topic waited, by data type.
        dropped: ticks given up altogether, by data type.
    """

    def __init__(self, most_updates: int = MOST_UPDATES, most_bytes: int = MOST_BYTES) -> None:
        """Begin empty.

        Args:
            most_updates: that many ticks may wait.
            most_bytes: and their bodies may be that large, together.
        """
        self.bytes = 0
        self.conflated: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self._most_updates, self._most_bytes = most_updates, most_bytes
        self._waiting: dict[int, tuple[Tick, int]] = {}  # number → tick and its size, in order
        self._last = 0
        # Numbers of what waits, by how soon it may go; those of ticks that were taken are removed when they come up.
        self._replaced: list[int] = []
        self._newest: dict[_Latest, int] = {}
        self._every: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, ticks: Iterable[Tick]) -> None:
        """Add ticks behind those that wait; make room where there is none."""
        for tick in ticks:
            self._last += 1
            size = _size(tick)
            self._waiting[self._last] = tick, size
            self.bytes += size
            self._file(tick, self._last)
            while len(self._waiting) > self._most_updates or self.bytes > self._most_bytes:
                self._make_room()

    def _file(self, tick: Tick, number: int) -> None:
        if (key := _latest(tick)) is None:
            self._every.append(number)
            return
        if (replaced := self._newest.pop(key, None)) is not None:
            heappush(self._replaced, replaced)
        self._newest[key] = number

    def _make_room(self) -> None:
        if self._replaced:
            self.conflated[self._remove(heappop(self._replaced)).type.value] += 1
        elif self._newest:
            self.dropped[self._remove(self._newest.pop(next(iter(self._newest)))).type.value] += 1
        else:
            self.dropped[self._remove(self._every.popleft()).type.value] += 1

    def _remove(self, number: int) -> Tick:
        tick, size = self._waiting.pop(number)
        self.bytes -= size
        return tick

    def take(self, most: int) -> list[Tick]:
        """Remove the oldest ticks and return them, in order."""
        numbers = list(islice(self._waiting, most))
        taken = [self._remove(number) for number in numbers]
        for tick, number in zip(taken, numbers, strict=True):
            if (key := _latest(tick)) is not None and self._newest.get(key) == number:
                del self._newest[key]
        while self._replaced and self._replaced[0] not in self._waiting:
            heappop(self._replaced)
        while self._every and self._every[0] not in self._waiting:
            self._every.popleft()
        return taken


def _size(tick: Tick) -> int:
    try:
        return len(body(tick))
    except (TypeError, ValueError):  # a field is not of its type: ingest will refuse it
        return ODD_BYTES


def _latest(tick: Tick) -> _Latest | None:
    """The latest topic that a tick belongs to; None where each one matters."""
    if isinstance(tick, Kline):
        return None if tick.closed else (Kline, str(tick.symbol), str(tick.interval))
    return None if isinstance(tick, Trade) else (type(tick), str(tick.symbol), None)  # text, whatever a bad feed put there
