"""Whose ticks go onto a topic, and which of them are new: feeds that stand in for each other, one at a time.

Rules of this file:
1. A symbol is written by one feed at a time. It keeps its turn while it is well, until one before it in the line has been well
   for its `hold_s`. When it fails, its turn goes to the first that is well, one that has been so for long before one that was
   not; where nobody is well it stays whose it was.
2. Who takes over begins where the topic stands: what is older is dropped, and so is what went through before. Both are counted.
3. What a feed says while another writes is kept, bounded, and looked through when its turn comes: what happened between the last
   word of one and the first of the other is not lost. What the bound pushes out is counted.
4. Only what went through, or perhaps did, is remembered: a tick that ingest refused moves nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from marketdata.checks import flaw
from marketdata.ticks import Kline, Tick, Trade
from marketdata.topics import Topic

MOST_IDS = 1000  # of one topic; what repeats later than that, ingest knows
MOST_TOPICS = 20_000  # the store can tell where the others stand
MOST_HELD = 50_000  # trades of one feed: some 20 MB


class Line(NamedTuple):
    """One of the feeds.

    Attributes:
        name: as in its row.
        hold_s: how long it must be well again before it goes before those behind it.
    """

    name: str
    hold_s: float


class Sifted(NamedTuple):
    """What becomes of a batch.

    Attributes:
        through: to be published, in order; begins with what had been held.
        held: how many wait because another feed writes.
        refused: how many would have waited, but nobody would believe them.
        duplicates: how many went through before.
        backwards: how many are older than what the topic has.
        shed: how many were held and are given up.
    """

    through: list[Tick]
    held: int = 0
    refused: int = 0
    duplicates: int = 0
    backwards: int = 0
    shed: int = 0


class Turns(NamedTuple):
    """Who may write now: those that were well for long enough, and those that are well. `version` grows with other changes."""

    seasoned: tuple[str, ...]
    well: tuple[str, ...]
    version: int


@dataclass
class _Standing:
    """One feed in the line: what it brings (None: anything) and since when it is well (None: it is not)."""

    hold_s: float
    symbols: frozenset[str] | None = None
    well_since_s: float | None = None

    def carries(self, symbol: str) -> bool:
        return self.symbols is None or symbol in self.symbols


@dataclass
class _Held:
    """What a feed said while another wrote: each trade, and the newest of the latest types."""

    every: deque[Tick] = field(default_factory=deque)
    latest: dict[Topic, Tick] = field(default_factory=dict)
    seen: Turns | None = None  # as of these turns, nothing of it is due

    def symbols(self) -> set[str]:
        return {tick.symbol for tick in self.every} | {topic.symbol for topic in self.latest}


@dataclass
class _Tape:
    """Where a topic stands: its newest event time, who wrote last, and from when on that one may write."""

    newest_us: int = -1
    owner: str = ""
    floor_us: int = -1
    last: Tick | None = None
    ids: dict[object, None] = field(default_factory=dict)

    def note(self, name: str, tick: Tick) -> None:
        if self.owner != name:
            self.owner, self.floor_us = name, self.newest_us
        self.newest_us = max(self.newest_us, tick.ts)
        self.last = tick
        if (one := identity(tick)) is not None:
            self.ids[one] = None
            if len(self.ids) > MOST_IDS:
                del self.ids[next(iter(self.ids))]

    def is_duplicate(self, name: str, tick: Tick) -> bool:
        if (one := identity(tick)) is not None:
            return one in self.ids
        return self.owner != name and tick == self.last

    def is_backward(self, name: str, tick: Tick) -> bool:
        if identity(tick) is not None and self.owner == name:
            return tick.ts < self.floor_us  # its own late trades are the venue's affair
        return tick.ts < self.newest_us

    def covers(self, tick: Tick) -> bool:
        return tick.ts < self.newest_us or identity(tick) in self.ids


class Gate:
    """The feeds of one set of symbols, primary first."""

    def __init__(self, lines: Sequence[Line], believes: Callable[[Tick], bool] | None = None) -> None:
        """Take the parts.

        Args:
            lines: the feeds, in their order.
            believes: whether ingest would take a tick; only such are held. None: whether it has no flaw in itself.
        """
        self._believes = believes or (lambda tick: not flaw(tick))
        self._standings: dict[str, _Standing] = {}
        self._version = 0
        self._tapes: dict[Topic, _Tape] = {}
        self._held: dict[str, _Held] = {}
        self._writers: dict[str, str] = {}  # symbol that was written → whose turn it is
        self.line_up(lines)

    def line_up(self, lines: Sequence[Line]) -> None:
        """Change who stands in line; where the topics stand is kept. The very first counts as well until it is said not to be."""
        known, self._standings = self._standings, {}
        for line in lines:
            unproven = None if known or self._standings else -inf
            standing = self._standings[line.name] = known.get(line.name) or _Standing(line.hold_s, well_since_s=unproven)
            standing.hold_s = line.hold_s
        self._held = {name: held for name, held in self._held.items() if name in self._standings}
        self._version += 1

    def bring(self, name: str, symbols: Collection[str]) -> None:
        """A feed says which symbols it can bring; none means any."""
        if name in self._standings:
            self._standings[name].symbols = frozenset(symbols) or None
            self._version += 1

    def report(self, name: str, now_s: float, *, well: bool) -> None:
        """A feed is well, or is not; to be said at least whenever that changes."""
        standing = self._standings.get(name)
        if standing is None:
            return
        if not well:
            standing.well_since_s = None
            self._hand_over(name, self._turns(now_s))
        elif standing.well_since_s is None:
            standing.well_since_s = now_s

    def writes(self, name: str, now_s: float) -> int:
        """For how many symbols it is a feed's turn, of those that it brings or, if it brings any, of those that were written."""
        standing, turns = self._standings.get(name), self._turns(now_s)
        if standing is None:
            return 0
        return sum(self._writer(symbol, turns) == name for symbol in standing.symbols or self._writers)

    def unknown(self, ticks: Iterable[Tick]) -> list[Topic]:
        """The topics of which is not known where they stand: the store must be asked, see `seed`."""
        return list({topic: None for tick in ticks if (topic := tick.topic) not in self._tapes})

    def seed(self, topic: Topic, newest: Tick | None) -> None:
        """Where a topic stood before this process began: its latest update, if there is any."""
        tape = self._tape(topic)
        if newest is not None:
            tape.note("", newest)

    def sift(self, name: str, ticks: Sequence[Tick], now_s: float) -> Sifted:
        """Tell what of a feed's ticks, and of what was held for it, is to be published now; holds what is another feed's turn.

        Args:
            name: the feed's.
            ticks: what it says.
            now_s: monotonic seconds, as everywhere here.
        """
        turns = self._turns(now_s)
        mine = {symbol for symbol in {tick.symbol for tick in ticks} if self._writer(symbol, turns) == name}
        self._writers.update((symbol, name) for symbol in mine if symbol in self._writers)
        due = self._release(name, turns)
        others = [tick for tick in ticks if tick.symbol not in mine]
        good = [tick for tick in others if self._believes(tick)]
        shed = self._hold(name, good)
        due += [tick for tick in ticks if tick.symbol in mine]
        return self._new(name, due)._replace(held=len(good), refused=len(others) - len(good), shed=shed)

    def note(self, name: str, ticks: Iterable[Tick]) -> None:
        """Ticks of a feed went through, or perhaps did: what may have been published must not be published again."""
        for tick in ticks:
            self._tape(tick.topic).note(name, tick)
            self._writers.setdefault(tick.symbol, name)

    def is_awaited(self, name: str, now_s: float) -> bool:
        """Whether something is held for a feed whose turn may have come: it should sift, though it has nothing to say."""
        held = self._held.get(name)
        return held is not None and held.seen != self._turns(now_s)

    def _new(self, name: str, ticks: Sequence[Tick]) -> Sifted:
        """What is new of ticks whose turn it is."""
        through: list[Tick] = []
        duplicates = backwards = 0
        here: set[tuple[Topic, object]] = set()
        for tick in ticks:
            topic, one = tick.topic, identity(tick)
            tape = self._tapes.get(topic, _NOWHERE)
            if tape.is_duplicate(name, tick) or (topic, one) in here:
                duplicates += 1
            elif tape.is_backward(name, tick):
                backwards += 1
            else:
                through.append(tick)
                if one is not None:
                    here.add((topic, one))
        return Sifted(through, duplicates=duplicates, backwards=backwards)

    def _turns(self, now_s: float) -> Turns:
        well = {name: standing for name, standing in self._standings.items() if standing.well_since_s is not None}
        seasoned = (name for name, one in well.items() if now_s - (one.well_since_s or 0.0) >= one.hold_s)
        return Turns(tuple(seasoned), tuple(well), self._version)

    def _writer(self, symbol: str, turns: Turns) -> str | None:
        line = [name for name, standing in self._standings.items() if standing.carries(symbol)] or list(self._standings)
        last = self._writers.get(symbol)
        if last not in line:  # it was taken out, or brings that symbol no longer
            last = None
        before = line[: line.index(last)] if last else line
        if (first := _first(before, turns.seasoned)) or last in turns.well:
            return first or last
        return _first(line, turns.seasoned) or _first(line, turns.well) or last or _first(line, line)

    def _hand_over(self, name: str, turns: Turns) -> None:
        """Give the turns of a feed to others that are well, for good: it must earn them again even if nobody needed them."""
        for symbol in [symbol for symbol, writer in self._writers.items() if writer == name]:
            self._writers[symbol] = self._writer(symbol, turns) or name
        self._version += 1  # what others hold may be due now

    def _hold(self, name: str, ticks: Iterable[Tick]) -> int:
        """Keep what is another feed's turn. Returns how many had to be given up for it."""
        shed = 0
        for tick in ticks:
            held = self._held.setdefault(name, _Held())
            if identity(tick) is None:
                held.latest.pop(tick.topic, None)
                held.latest[tick.topic] = tick
                if len(held.latest) > MOST_TOPICS:
                    del held.latest[next(iter(held.latest))]
            else:
                held.every.append(tick)
                shed += self._trim(held.every)
        return shed

    def _trim(self, every: deque[Tick]) -> int:
        """Forget what the writer brought meanwhile, and the oldest beyond the bound; returns how many of the latter."""
        while every and self._tapes.get(every[0].topic, _NOWHERE).covers(every[0]):
            every.popleft()
        if len(every) <= MOST_HELD:
            return 0
        every.popleft()
        return 1

    def _release(self, name: str, turns: Turns) -> list[Tick]:
        """Take out what was held for symbols whose turn has come."""
        held = self._held.get(name)
        if held is None or held.seen == turns:
            return []
        held.seen = turns
        due: list[Tick] = []
        every, latest = deque[Tick](), dict[Topic, Tick]()
        mine = {symbol: self._writer(symbol, turns) == name for symbol in held.symbols()}
        for tick in held.every:
            (due if mine[tick.symbol] else every).append(tick)
        for topic, tick in held.latest.items():
            if mine[tick.symbol]:
                due.append(tick)
            else:
                latest[topic] = tick
        held.every, held.latest = every, latest
        return due

    def _tape(self, topic: Topic) -> _Tape:
        tape = self._tapes.get(topic)
        if tape is None:
            tape = self._tapes[topic] = _Tape()
            if len(self._tapes) > MOST_TOPICS:
                del self._tapes[next(iter(self._tapes))]
        return tape


_NOWHERE = _Tape()


def _first(names: Iterable[str], among: Collection[str]) -> str | None:
    return next((name for name in names if name in among), None)


def identity(tick: Tick) -> object:
    """What tells an update of which each one counts from all others of its topic; None where only the newest counts."""
    if type(tick) is Trade:
        return tick.id
    if type(tick) is Kline and tick.closed:
        return tick.open_time, tick.revision
    return None
