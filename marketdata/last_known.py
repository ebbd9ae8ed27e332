"""The last known values: what this process answers with, marked stale, when the store cannot be asked or has lost its memory.

Rules of this file:
1. What the store says comes first. Only where it says nothing is a value from here given, and never without saying so.
2. A source is fresher than what requests have read here, for it follows each update; the hub of a serving process is one.
3. Memory is bounded: what was read longest ago goes first.
4. Who sees everything later (`as_of`) is given what is old enough, and leaves nothing here for others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from threading import Lock
from typing import NamedTuple, Protocol

from marketdata.as_of import AsOf
from marketdata.errors import StoreUnavailable
from marketdata.store import Stamped

MOST_TOPICS = 10_000
Source = Callable[[Sequence[str]], Mapping[str, Stamped]]


class Latest(Protocol):
    """Whoever can be asked for newest updates: a store, or what stands before one."""

    def latest(self, topics: Sequence[str]) -> list[Stamped | None]:
        """See `marketdata.store.Store.latest`."""


class Value(NamedTuple):
    """What is known of a topic.

    Attributes:
        stamped: its newest update; None: it was never published to.
        current: whether the store said so just now.
    """

    stamped: Stamped | None
    current: bool


class LastKnown:
    """What one process knows of the topics of one store. Safe among threads."""

    def __init__(self, most_topics: int = MOST_TOPICS) -> None:
        self._most = most_topics
        self._values: OrderedDict[str, Stamped] = OrderedDict()
        self._lock = Lock()
        self._sources: list[Source] = []

    def follow(self, source: Source) -> Callable[[], None]:
        """Ask a source, too, which any thread may call. Returns what ends that."""
        self._sources.append(source)
        return lambda: self._sources.remove(source)

    def latest(self, store: Latest, topics: Sequence[str]) -> list[Value | None]:
        """What is known of each topic; None: the store cannot be asked, and nothing is known here.

        Raises:
            StoreUnavailable: that is so of all of them.
        """
        until_us = store.until_us if isinstance(store, AsOf) else None
        try:
            found = store.latest(topics) if topics else []
        except StoreUnavailable:
            known = self._find(topics, until_us)
            if not known:
                raise
            return [Value(known[topic], False) if topic in known else None for topic in topics]
        if until_us is None:
            self.note(topics, found)
        lost = self._find([topic for topic, stamped in zip(topics, found, strict=True) if stamped is None], until_us)
        pairs = zip(topics, found, strict=True)
        return [Value(lost[topic], False) if topic in lost else Value(stamped, True) for topic, stamped in pairs]

    def note(self, topics: Sequence[str], found: Sequence[Stamped | None]) -> None:
        """Remember what the store has just said of topics; None: nothing."""
        with self._lock:
            for topic, stamped in zip(topics, found, strict=True):
                if stamped is not None:
                    self._values[topic] = stamped
                    self._values.move_to_end(topic)
            while len(self._values) > self._most:
                self._values.popitem(last=False)

    def _find(self, topics: Sequence[str], until_us: int | None) -> dict[str, Stamped]:
        if not topics:
            return {}
        with self._lock:
            known = _old_enough({topic: self._values[topic] for topic in topics if topic in self._values}, until_us)
        for source in list(self._sources):
            known |= _old_enough(source(topics), until_us)
        return known


def _old_enough(known: Mapping[str, Stamped], until_us: int | None) -> dict[str, Stamped]:
    return {topic: stamped for topic, stamped in known.items() if until_us is None or stamped.published_us <= until_us}


@cache
def last_known(prefix: str) -> LastKnown:  # noqa: ARG001 -- it is the key
    """What this process knows of the installation with that prefix."""
    return LastKnown()
