"""What a feed has said and has not been published yet: bounded in number, and let out at a bounded rate.

Rules of this file:
1. At most `most_per_s` ticks a second leave, and about as many wait: a flood costs no more memory than that.
2. Beyond the bound the latest types are conflated first: of each topic the newest waits. Then the oldest trades are shed, so
   that the tape ends where the market is. Each is counted.
3. What comes in at more than `READ_TIMES` the bound is not even read: its sender's own buffers fill.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, TypeGuard

from marketdata.gate import identity
from marketdata.ticks import Depth, Kline, Quote, Tick, Ticker, Trade
from marketdata.topics import Interval, Topic

MOST_PER_S = 10_000  # about half of what a process can publish
MOST_AT_ONCE = 1000  # ticks that are let out in one step
READ_TIMES = 4
CALM_S = 5.0  # a flood is over when nothing was over the bound for so long
_SLACK = 5  # conflation looks at all that waits, so it is done when a fifth more than the bound does
_KINDS = frozenset({Quote, Trade, Depth, Ticker, Kline})


def is_tick(thing: Any) -> TypeGuard[Tick]:
    """Whether something is a tick whose topic, time and identity can be read; ingest looks at the rest."""
    if type(thing) not in _KINDS or type(thing.symbol) is not str or type(thing.ts) is not int:
        return False
    if type(thing) is Trade:
        return type(thing.id) is str
    if type(thing) is Kline:
        numbers = (thing.open_time, thing.revision)
        return type(thing.interval) is Interval and type(thing.closed) is bool and all(type(one) is int for one in numbers)
    return True


class Inflow:
    """The ticks of one feed on their way in. Times are monotonic seconds.

    Attributes:
        most_per_s: the bound.
        conflated: ticks of latest types that a newer one replaced.
        shed: ticks given up.
    """

    def __init__(self, most_per_s: int = MOST_PER_S) -> None:
        self.most_per_s = most_per_s
        self.conflated = self.shed = 0
        self._waiting: deque[Tick] = deque()
        self._tokens = float(most_per_s)
        self._filled_s: float | None = None
        self._over_s: float | None = None  # when it was over the bound last
        self._window_s = 0.0
        self._read = 0  # within the second that began at `_window_s`

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, ticks: Sequence[Tick], now_s: float) -> float:
        """Take ticks in.

        Returns:
            For how many seconds nothing more should be read.
        """
        self._waiting.extend(ticks)
        if len(self._waiting) > self.most_per_s + self.most_per_s // _SLACK:
            self._shrink()
            self._over_s = now_s
        if now_s - self._window_s >= 1:
            self._window_s, self._read = now_s, 0
        self._read += len(ticks)
        return self._window_s + 1 - now_s if self._read > READ_TIMES * self.most_per_s else 0.0

    def take(self, now_s: float) -> list[Tick]:
        """Let out what may leave now, oldest first: at most `MOST_AT_ONCE` ticks."""
        if self._filled_s is not None:
            gained = (now_s - self._filled_s) * self.most_per_s
            self._tokens = min(self._tokens + gained, float(self.most_per_s))
        self._filled_s = now_s
        count = min(len(self._waiting), int(self._tokens), MOST_AT_ONCE)
        self._tokens -= count
        return [self._waiting.popleft() for _ in range(count)]

    def wait_s(self) -> float | None:
        """How long until more may leave; None: nothing waits."""
        if not self._waiting:
            return None
        wanted = min(len(self._waiting), MOST_AT_ONCE, self.most_per_s)
        return max(0.0, (wanted - self._tokens) / self.most_per_s)

    @property
    def portion(self) -> int:
        """How many to put in at once: so few that the event loop is not held up, and that nothing is shed of who waits."""
        return max(1, min(MOST_AT_ONCE, self.most_per_s // _SLACK))

    @property
    def is_full(self) -> bool:
        """Whether who can wait should."""
        return len(self._waiting) >= min(self.most_per_s, MOST_AT_ONCE)

    def is_flooded(self, now_s: float) -> bool:
        """Whether more came lately than the bound lets through."""
        return self._over_s is not None and now_s - self._over_s < CALM_S

    def _shrink(self) -> None:
        kept = _conflated(self._waiting)
        self.conflated += len(self._waiting) - len(kept)
        if (surplus := len(kept) - self.most_per_s) > 0:
            self.shed += surplus
            kept = _without_oldest(kept, surplus)
        self._waiting = deque(kept)


def _conflated(ticks: Iterable[Tick]) -> list[Tick]:
    """All that count one by one, and of each other topic the newest, in order."""
    kept: list[Tick] = []
    seen: set[Topic] = set()
    for tick in reversed(list(ticks)):
        if identity(tick) is None:
            if (topic := tick.topic) in seen:
                continue
            seen.add(topic)
        kept.append(tick)
    return kept[::-1]


def _without_oldest(ticks: Sequence[Tick], surplus: int) -> list[Tick]:
    """Without the oldest trades, and where these do not suffice without the topics that were heard of longest ago."""
    trades = sum(identity(tick) is not None for tick in ticks)
    give_up = {True: min(surplus, trades), False: max(0, surplus - trades)}
    kept = []
    for tick in ticks:
        if give_up[counts := identity(tick) is not None]:
            give_up[counts] -= 1
        else:
            kept.append(tick)
    return kept
