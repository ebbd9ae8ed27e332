"""Topics as a delayed plan has them: what their real-time followers got, again, when it is old enough.

Rules of this file:
1. A delayed topic is an entry of its own, of the same name, which a line feeds instead of the bus. Paces, cohorts, slow sockets
   and replays work on it as on any other.
2. Nothing leaves a line before the delay is over, counted from its arrival here; of what the store kept, from its publication.
3. In order, and of every topics without a hole. Of the others a line keeps the last value of each grain of time, and each closed
   kline. It is bounded: the oldest go, and a gap says so.
4. The line hangs on the real entry before the store's history is read: what comes meanwhile waits behind that, once each.
5. The newest update that is old enough is what a topic begins with. Where the history does not reach back to one, the topic has
   no value until the first of the line is old enough.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Literal

import msgspec

from marketdata.errors import StoreUnavailable
from marketdata.store import Stamped, now_us
from marketdata.topics import Topic
from realtime.cohorts import Entry
from realtime.outbox import Item
from realtime.replays import CLOSED

if TYPE_CHECKING:
    from realtime.hub import Hub

MOST = 50_000  # updates of one line: some 18 MB of trades
GRAIN_US = 100_000  # or a thousandth of the delay: a quote of a quarter of an hour ago need not come to the millisecond
PAUSE_S, LOOK_S = 0.01, 1.0  # least and most between two looks at a line: the wall clock may be set meanwhile
SHOWN_AT_ONCE = 1000  # updates, before the loop may do something else
READ_AT_ONCE = 20  # topics of which the newest updates are read in one round trip …
FEW, MORE = 100, 1000  # … and how many of each; then of one topic, until they go back far enough
LONGEST_LINGER_S = 300.0  # a line that is gone is made again from what the store still has, which may not reach back so far


class Held(msgspec.Struct, frozen=True, gc=False):
    """An update in a line.

    Attributes:
        due_us: wall clock at which it may be shown.
        lost: why updates right before it are missing; empty: none are.
    """

    due_us: int
    epoch: str
    item: Item
    lost: Literal["", "broker", "overflow"] = ""


class Line:
    """What comes of one topic, on its way through one delay.

    Attributes:
        entry: the delayed topic.
        delay_us: how old everything must be that its followers see.
    """

    __slots__ = ("_early", "_grain_us", "_held", "_hub", "_last", "_real", "_timer", "delay_us", "entry")

    def __init__(self, hub: Hub, topic: Topic, delay_us: int) -> None:
        self.entry = Entry(topic, b"")
        self.entry.line, self.entry.idle_since = self, hub.time()
        self.delay_us = delay_us
        self._grain_us = max(GRAIN_US, delay_us // 1000)
        self._hub = hub
        self._real: Entry | None = None
        self._last = ("", 0)  # epoch and seq of the newest update that was put in
        self._early: list[tuple[str, Item, int]] = []  # what came while the history was read
        self._held: deque[Held] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """How many updates are not old enough yet."""
        return len(self._held)

    def hang(self, real: Entry) -> None:
        """From now on be handed what the real entry takes."""
        self._real, self._last = real, (real.epoch, real.seq)
        real.lines = (*real.lines, self)

    def open(self, updates: Sequence[Stamped]) -> None:
        """Begin with what the store kept up to where the real entry was, then go on with what came since."""
        (epoch, seq), entry = self._last, self.entry
        kept = [update for update in updates if update.epoch == epoch and update.seq <= seq]
        until_us = now_us() - self.delay_us
        at = max((number for number, update in enumerate(kept) if update.published_us <= until_us), default=-1)
        if at >= 0:
            entry.epoch, entry.seq, published_us, entry.body = kept[at]
            entry.changed_us = published_us + self.delay_us
        if kept:
            self._last = (epoch, kept[at + 1].seq - 1 if at + 1 < len(kept) else seq)
        entry.live = True
        for update in kept[at + 1 :]:
            self.put(epoch, Item(update.seq, update.body, "", self._matters(update.body)), update.published_us)
        early, self._early = self._early, []
        for arrived in early:
            self.put(*arrived)

    def _matters(self, body: bytes) -> bool:
        return self.entry.every or (self.entry.whole and CLOSED in body)

    def put(self, epoch: str, item: Item, arrived_us: int) -> None:
        """Take the next update of the real entry, to be shown when the delay is over."""
        if not self.entry.live:
            self._early.append((epoch, item, arrived_us))
            return
        before = self._last[1] if epoch == self._last[0] else 0
        lost: Literal["", "broker"] = "broker" if self.entry.whole and item.seq != before + 1 else ""
        self._last = (epoch, item.seq)
        tail = self._held[-1] if self._held else None
        due_us = arrived_us + self.delay_us
        if tail is not None and self._replaces(tail, epoch, due_us):
            self._held[-1] = Held(due_us, epoch, item, tail.lost or lost)
            self._hub.counts["delay_conflated"] += 1
            return
        self._held.append(Held(due_us, epoch, item, lost))
        if len(self._held) > MOST:
            self._drop_oldest()
        if self._timer is None:
            self._look_later()

    def _replaces(self, tail: Held, epoch: str, due_us: int) -> bool:
        return not tail.item.keep and tail.epoch == epoch and tail.due_us // self._grain_us == due_us // self._grain_us

    def _drop_oldest(self) -> None:
        self._held.popleft()
        head = self._held[0]
        self._held[0] = Held(head.due_us, head.epoch, head.item, "overflow")
        self._hub.counts["delay_dropped"] += 1

    def _look_later(self) -> None:
        if self._held:
            wait_s = min(max((self._held[0].due_us - now_us()) / 1e6, PAUSE_S), LOOK_S)
            self._timer = asyncio.get_running_loop().call_later(wait_s, self.look)

    def look(self) -> None:
        """Show what is old enough."""
        self.stop()
        now = now_us()
        try:
            for _ in range(SHOWN_AT_ONCE):
                if not self._held or self._held[0].due_us > now:
                    break
                self._show(self._held.popleft())
        finally:  # whatever happened, the topic goes on
            self._look_later()

    def _show(self, held: Held) -> None:
        entry, hub, item = self.entry, self._hub, held.item
        known = entry.epoch
        if held.epoch != known:
            hub.begin_epoch(entry, held.epoch)
        if held.lost and known:
            hub.repairs.skip_to(entry, item.seq, held.lost)
        hub.take(entry, item if item.epoch == entry.fresh else item.beginning(entry.fresh))
        entry.fresh = ""

    def hasten(self, updates: Sequence[Stamped]) -> None:
        """Show what is old enough by the store's clock: a client may have it from a process that the bus reached sooner."""
        until_us = now_us() - self.delay_us
        old = list(takewhile(lambda update: update.published_us <= until_us, updates))
        if not old or old[-1].epoch != self.entry.epoch:
            return
        newest = old[-1]
        while self._held and self._held[0].epoch == newest.epoch and self._held[0].item.seq <= newest.seq:
            self._show(self._held.popleft())
        if self.entry.epoch == self._last[0] and self.entry.seq < newest.seq <= self._last[1] and not self.entry.every:
            self._hub.take(self.entry, Item(newest.seq, newest.body))  # the line had conflated it

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self) -> None:
        """Hang on nothing any more."""
        self.stop()
        if self._real is not None:
            self._real.lines = tuple(line for line in self._real.lines if line is not self)


class Delays:
    """The delayed topics of one hub, by delay and name. Each has one line, however many follow it."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._entries: dict[int, dict[str, Entry]] = {0: hub.entries}
        self._beginning: dict[Entry, asyncio.Future[None]] = {}

    def entries(self, delay_us: int) -> dict[str, Entry]:
        """The topics at a delay; without one, those of the bus."""
        return self._entries.setdefault(delay_us, {})

    def all(self) -> Iterator[tuple[int, Mapping[str, Entry]]]:
        """Delays, 0 among them, and the topics at each."""
        return iter(list(self._entries.items()))

    def lines(self) -> list[Line]:
        """All lines."""
        return [entry.line for entries in self._entries.values() for entry in entries.values() if entry.line is not None]

    async def ensure(self, delay_us: int, topics: Sequence[Topic]) -> None:
        """Have topics ready to be followed at a delay; of those that are nothing is asked.

        Raises:
            StoreUnavailable: Redis did not answer; some of the missing topics may be ready nevertheless.
        """
        known = self.entries(delay_us)
        while missing := [topic for topic in topics if (found := known.get(str(topic))) is None or not found.live]:
            if fresh := [topic for topic in missing if str(topic) not in known]:
                await self._begin(known, [Line(self.hub, topic, delay_us) for topic in fresh])
            begun = (self._beginning.get(known[str(topic)]) for topic in missing if str(topic) in known)
            for done in {done for done in begun if done is not None}:
                await asyncio.shield(done)

    async def _begin(self, known: dict[str, Entry], lines: Sequence[Line]) -> None:
        done = asyncio.get_running_loop().create_future()
        for line in lines:
            known[line.entry.name] = line.entry
            self._beginning[line.entry] = done
        try:
            await self.hub.ensure([line.entry.topic for line in lines])
            for line in lines:
                line.hang(self.hub.entries[line.entry.name])
            with self.hub.joins.asking():
                await self._open(lines)
        except BaseException as error:
            for line in lines:
                if not line.entry.live:  # else somebody may follow it already
                    self._end(known, line)
            failure = StoreUnavailable("the topics could not be begun")
            done.set_exception(error if isinstance(error, StoreUnavailable) else failure)
            done.exception()  # perhaps nobody waits for it
            raise
        finally:
            for line in lines:
                del self._beginning[line.entry]
        done.set_result(None)

    async def _open(self, lines: Sequence[Line]) -> None:
        """Read what the store has of the topics, in portions: the event loop does not wait for long histories."""
        for at in range(0, len(lines), READ_AT_ONCE):
            some = lines[at : at + READ_AT_ONCE]
            found = await self.hub.store.recall([(line.entry.name, 0) for line in some], FEW)
            for line, recalled in zip(some, found, strict=True):
                line.open(await self._back(line, recalled.updates))

    async def _back(self, line: Line, newest: list[Stamped]) -> list[Stamped]:
        """Those updates with what came before them, back to one that is old enough, or as far as the store goes."""
        pages, asked = [newest], FEW
        while len(pages[-1]) == asked and pages[-1][0].published_us > now_us() - line.delay_us:
            asked, before = MORE, pages[-1][0].seq - 1
            pages.append((await self.hub.store.history(line.entry.name, to_seq=before, limit=MORE, newest=True)).updates)
        return [update for page in reversed(pages) for update in page]

    def _end(self, known: dict[str, Entry], line: Line) -> None:
        line.end()
        self.hub.replays.drop(line.entry)
        known.pop(line.entry.name, None)

    def linger_s(self, delay_us: int) -> float:
        """For how long a line goes on that nobody follows."""
        return max(self.hub.linger_s, min(delay_us / 1e6, LONGEST_LINGER_S))

    def forget_idle(self) -> None:
        """Let lines go that nobody has followed for their linger time."""
        now = self.hub.time()
        for line in self.lines():
            entry, until = line.entry, now - self.linger_s(line.delay_us)
            if entry.live and entry.idle_since is not None and entry.idle_since <= until:
                self._end(self._entries[line.delay_us], line)

    def stop(self) -> None:
        """Show nothing any more."""
        for line in self.lines():
            line.stop()
