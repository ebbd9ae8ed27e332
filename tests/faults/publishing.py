"""A publisher that goes on through every fault, and remembers what was confirmed to it."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Sequence

import msgspec

from marketdata.errors import StoreUnavailable
from marketdata.store import Store, Update

PAUSE_S = 0.005


class Publishing:
    """Publishes to each topic in turn, from a thread, until it is told to stop.

    Every body is `{"n": …}`, its number among those of its topic. What fails is not given again: whether the store has it
    is unknown, as it is for anybody.

    Attributes:
        confirmed: topic → the numbers of which the store said that it has them.
        given: topic → the last number that was given, confirmed or not.
        refused: how many batches failed.
    """

    def __init__(self, store: Store, topics: Sequence[str], *, pause_s: float = PAUSE_S) -> None:
        self.store = store
        self.topics = topics
        self.pause_s = pause_s
        self.confirmed: dict[str, set[int]] = defaultdict(set)
        self.given: dict[str, int] = defaultdict(int)
        self.refused = 0
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """End at once."""
        self._stopping.set()
        self._thread.join()

    def stop(self) -> None:
        """End with a last number that is confirmed for every topic."""
        self.end()
        ends = time.monotonic() + 20
        while not self.publish():
            assert time.monotonic() < ends, "the store takes nothing any more"
            time.sleep(0.05)

    def _run(self) -> None:
        while not self._stopping.wait(self.pause_s):
            self.publish()

    def publish(self, count: int = 1) -> bool:
        """Give each topic its next numbers, all in one batch. Returns whether that was confirmed."""
        with self._lock:
            batch = [(topic, self.given[topic] + number) for number in range(1, count + 1) for topic in self.topics]
            self.given.update(batch)
            try:
                self.store.publish([Update(topic, msgspec.json.encode({"n": n})) for topic, n in batch])
            except StoreUnavailable:
                self.refused += 1
                return False
            for topic, n in batch:
                self.confirmed[topic].add(n)
            return True

    def counted(self) -> int:
        """How many updates were confirmed so far."""
        return sum(map(len, self.confirmed.values()))
