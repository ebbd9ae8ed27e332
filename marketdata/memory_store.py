"""The store's in-memory twin: same methods, same answers, one process."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from marketdata.batch import Mark, State, Update
from marketdata.errors import Conflict, Repeated
from marketdata.layout import Layout
from marketdata.message import write_message
from marketdata.store import NO_ENDS, NO_EPOCH, History, Recalled, Stamped, new_epoch, now_us
from marketdata.window import Window, digest, digests

LAST = 1 << 62


@dataclass
class _MemoryTopic:
    history: deque[Stamped]
    seq: int = 0


@dataclass
class MemoryStore:
    """The store without Redis, for tests and for trying things out.

    Attributes:
        messages: what went onto the bus: (topic, message).
    """

    layout: Layout = field(default_factory=lambda: Layout("memory"))
    epoch: str = field(default_factory=new_epoch)
    messages: list[tuple[str, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._topics: dict[str, _MemoryTopic] = {}
        self._states: dict[str, State] = {}
        self._windows: dict[str, Window] = {}
        self._marks: dict[str, int] = {}

    def wipe(self) -> None:
        """Lose everything, as FLUSHALL does."""
        for kept in (self._topics, self._states, self._windows, self._marks):
            kept.clear()
        self.epoch = new_epoch()

    def publish(self, updates: Sequence[Update], states: Sequence[State] = (), mark: Mark | None = None) -> list[int]:
        """See `Store.publish`."""
        windows = digests(updates)
        if mark and self._marks.get(mark.writer, 0) >= mark.number:
            return []
        self._refuse(states, windows)
        if mark:
            self._marks[mark.writer] = mark.number
        for key, version, value in states:
            self._states[key] = State(key, version + 1, value)
        for topic, ids in windows.items():
            self._windows.setdefault(topic, Window(self.layout.trade_ids)).add(list(ids))
        return [self._append(update) for update in updates]

    def _refuse(self, states: Sequence[State], windows: Mapping[str, Mapping[bytes, int]]) -> None:
        stale = [state.key for state in states if self.load([state.key])[0].version != state.version]
        if stale:
            raise Conflict(stale)
        repeated = [at for topic, ids in windows.items() for name, at in ids.items() if name in self._windows.get(topic, ())]
        if repeated:
            raise Repeated(repeated)

    def _append(self, update: Update) -> int:
        topic = self._topics.setdefault(update.topic, _MemoryTopic(deque(maxlen=self.layout.kept(update.topic))))
        topic.seq += 1
        topic.history.append(Stamped(self.epoch, topic.seq, now_us(), update.body))
        self.messages.append((update.topic, write_message(update.topic, self.epoch, topic.seq, update.body)))
        return topic.seq

    def known(self, ids: Sequence[tuple[str, str]]) -> list[bool]:
        """See `Store.known`."""
        return [digest(name) in self._windows.get(topic, ()) for topic, name in ids]

    def load(self, keys: Sequence[str]) -> list[State]:
        """See `Store.load`."""
        return [self._states.get(key, State(key, 0, b"")) for key in keys]

    def stamps(self, topics: Sequence[str]) -> list[tuple[str, int]]:
        """See `Store.stamps`."""
        return [(found.epoch, found.seq) if found is not None else (NO_EPOCH, 0) for found in self.latest(topics)]

    def latest(self, topics: Sequence[str]) -> list[Stamped | None]:
        """See `Store.latest`."""
        return [self._topics[topic].history[-1] if topic in self._topics else None for topic in topics]

    def as_of(self, topics: Sequence[str], until_us: int) -> list[Stamped | None]:
        """See `Store.as_of`."""
        kept = [self._topics[topic].history if topic in self._topics else () for topic in topics]
        return [next((update for update in reversed(each) if update.published_us <= until_us), None) for each in kept]

    def history(
        self, topic: str, *, from_seq: int = 1, to_seq: int | None = None, limit: int = 1000, newest: bool = False
    ) -> History:
        """See `Store.history`."""
        if topic not in self._topics:
            return History(NO_EPOCH, [])
        kept = self._topics[topic].history
        found = [update for update in kept if from_seq <= update.seq and (to_seq is None or update.seq <= to_seq)]
        return History(self.epoch, found[-limit:] if newest else found[:limit])

    def recall(
        self, wanted: Sequence[tuple[str, int | None]], most: int = 1000, ends: Mapping[str, int] = NO_ENDS
    ) -> list[Recalled]:
        """See `Store.recall`."""
        return [self._recall(topic, after_seq, most, ends.get(topic, LAST)) for topic, after_seq in wanted]

    def _recall(self, topic: str, after_seq: int | None, most: int, end: int) -> Recalled:
        if topic not in self._topics:
            return Recalled(None, [])
        kept = self._topics[topic].history
        newer = [] if after_seq is None else [update for update in kept if after_seq < update.seq <= end]
        return Recalled(kept[-1], newer[-most:])

    def close(self) -> None:
        """Nothing to give back."""
