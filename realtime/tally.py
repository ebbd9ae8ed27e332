"""What clients met: counts, latencies, and what the numbers of the updates say is wrong."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

EXAMPLES = 5


class Latencies:
    """How many updates took how long; one in a thousand is all that is lost of a figure, whatever their number."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def __len__(self) -> int:
        return self._counts.total()

    def add(self, us: int) -> None:
        """Count one, in microseconds."""
        spare = us.bit_length() - 10
        self._counts[us if spare <= 0 else us >> spare << spare] += 1

    def clear(self) -> None:
        """Begin anew."""
        self._counts.clear()

    def percentile_ms(self, percent: float) -> float:
        """What `percent` of all did not exceed (nearest rank), in milliseconds.

        Raises:
            ValueError: there are none.
        """
        left = max(1, math.ceil(len(self) * percent / 100))
        for us in sorted(self._counts):
            left -= self._counts[us]
            if left <= 0:
                return us / 1000
        raise ValueError("no latencies")


@dataclass
class Tally:
    """What some connections met.

    Attributes:
        asked, came_up: connections that were wanted, and those that followed their topics at some time.
        live: connections at the end.
        refused: why → connections that did not come up.
        closed: code and name → connections that the server ended.
        rejected: why → topics that were asked for and not followed.
        updates, received_bytes: what came in the measured time.
        snapshots, conflated: snapshots, and newer values that replaced older ones, as the numbers of latest topics show.
        gaps, gap_updates: gaps that were announced, and how many updates they name.
        holes: updates of every topics that neither came nor were announced.
        out_of_order: updates whose number was not greater than the one before.
        examples: the first of these two.
        notices, evicted: kind → notices; name → subscriptions that the server ended.
    """

    asked: int = 0
    came_up: int = 0
    live: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    closed: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    updates: int = 0
    received_bytes: int = 0
    snapshots: int = 0
    conflated: int = 0
    gaps: int = 0
    gap_updates: int = 0
    holes: int = 0
    out_of_order: int = 0
    examples: list[str] = field(default_factory=list)
    notices: Counter[str] = field(default_factory=Counter)
    evicted: Counter[str] = field(default_factory=Counter)

    def show(self, example: str) -> None:
        """Keep an example, if it is among the first."""
        if len(self.examples) < EXAMPLES:
            self.examples.append(example)


class Positions:
    """Where a connection stands in each of its topics, and what the numbers say is wrong.

    Args:
        tally: where that is counted.
    """

    __slots__ = ("_announced", "_epochs", "_every", "_seqs", "_tally")

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._seqs: dict[str, int] = {}
        self._epochs: dict[str, str | None] = {}
        self._every: set[str] = set()
        self._announced: dict[str, list[tuple[int, int]]] = {}

    def begin(self, topic: str, epoch: str | None, seq: int, *, every: bool) -> None:
        """A topic is followed from here on; what comes first is the next one, or a snapshot of this one."""
        self._seqs[topic], self._epochs[topic] = seq, epoch
        if every:
            self._every.add(topic)

    def end(self, topic: str) -> None:
        """A topic is followed no longer."""
        self._seqs.pop(topic, None)

    def snapshot(self, topic: str, epoch: str, seq: int) -> None:
        """A value to begin from came."""
        self._tally.snapshots += 1
        if epoch != self._epochs.get(topic):
            self._enter(topic, epoch, seq)
        elif seq != self._seqs.get(topic):
            self.update(topic, seq)

    def update(self, topic: str, seq: int) -> None:
        """A topic's next value came."""
        last = self._seqs.get(topic, -1)
        if seq != last + 1:
            self._jump(topic, last, seq)
        self._seqs[topic] = seq

    def gap(self, topic: str, epoch: str, first: int, last: int) -> None:
        """The server names updates that will not come."""
        self._tally.gaps += 1
        self._tally.gap_updates += last - first + 1
        if epoch != self._epochs.get(topic):
            self._enter(topic, epoch, first - 1)
        self._announced.setdefault(topic, []).append((first, last))

    def _enter(self, topic: str, epoch: str, seq: int) -> None:
        self._seqs[topic], self._epochs[topic] = seq, epoch
        self._announced.pop(topic, None)

    def _jump(self, topic: str, last: int, seq: int) -> None:
        if last < 0 or seq <= last:
            self._tally.out_of_order += 1
            self._tally.show(f"{topic}: {seq} after {last}" if last >= 0 else f"{topic}: {seq}, though not followed")
        elif topic not in self._every:
            self._tally.conflated += seq - last - 1
        elif missing := unannounced(last + 1, seq - 1, self._announced.pop(topic, ())):
            self._tally.holes += missing
            self._tally.show(f"{topic}: {seq} after {last}, {missing} missing without a gap")


def unannounced(first: int, last: int, gaps: Iterable[tuple[int, int]]) -> int:
    """How many of the numbers from `first` to `last` none of these gaps names."""
    count = 0
    for start, end in sorted(gaps):
        count += max(0, min(start, last + 1) - first)
        first = max(first, end + 1)
    return count + max(0, last + 1 - first)
