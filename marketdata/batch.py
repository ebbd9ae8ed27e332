"""One call of `publish.lua`: what a batch is made of, how the script is asked and what it answers."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from marketdata import hops
from marketdata.errors import Conflict, Repeated
from marketdata.window import digests

if TYPE_CHECKING:
    from marketdata.layout import Layout

SCRIPT = (Path(__file__).parent / "publish.lua").read_text()
SCRIPT_SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
CHANGED, REPEATED, DONE_BEFORE = 0, 1, 2  # what publish.lua answers instead of an epoch


class Update(NamedTuple):
    """One body on its way to a topic.

    Attributes:
        id: tells it from every other of the topic, such as a trade's; it is published only if the topic has none of that id
            among its newest ones. Empty: published in any case.
    """

    topic: str
    body: bytes
    id: str = ""


class State(NamedTuple):
    """What a writer must remember between batches, kept beside the topics and changed in the same step.

    Attributes:
        key: `bars:AAPL`, for instance.
        version: of what was read; 0 when there was nothing. A batch goes through only if the store still has this version.
        value: the new content (in `publish`), the stored content (from `load`).
    """

    key: str
    version: int
    value: bytes


class Mark(NamedTuple):
    """Makes a batch one that is done at most once, however often it is given.

    Attributes:
        writer: who publishes; a name that nobody else has, nor had.
        number: of the batch; greater than that of every batch before.
    """

    writer: str
    number: int


class Call:
    """A batch on its way to the script.

    Raises:
        Repeated: two of the updates have the same topic and id.
    """

    def __init__(self, updates: Sequence[Update], states: Sequence[State] = (), mark: Mark | None = None) -> None:
        self._updates, self._states, self._mark = updates, states, mark
        self._follower, self._begun_ns, self._asked_us = hops.follower(), time.time_ns(), 0
        self._windows = digests(updates)

    def arguments(self, layout: Layout, fresh_epoch: str, now_us: int) -> list[Any]:
        """Arguments of EVALSHA behind the script's name."""
        self._asked_us = now_us
        keys = self._keys(layout)
        call: list[Any] = [len(keys), *keys, fresh_epoch, now_us, layout.topics, layout.channels]
        call += (len(self._states), len(self._windows), layout.trade_ids, self._mark.number if self._mark else "")
        for state in self._states:
            call += (state.version, state.value)
        call += (b"".join(ids) for ids in self._windows.values())
        for topic, body, _ in self._updates:
            call += (topic, layout.kept(topic), body)
        return call

    def _keys(self, layout: Layout) -> list[str]:
        keys = [layout.life, *(layout.state(state.key) for state in self._states), *map(layout.window, self._windows)]
        return [*keys, layout.mark(self._mark.writer)] if self._mark else keys

    def seqs(self, reply: list[Any]) -> list[int]:
        """The seq of each update; none when the batch had been done before.

        Raises:
            Conflict: a state is not of that version any more.
            Repeated: some updates were published before.
        """
        answer, *rest = reply
        if answer == CHANGED:
            raise Conflict([self._states[index - 1].key for index in rest])
        if answer == REPEATED:
            places = [list(ids.values()) for ids in self._windows.values()]
            raise Repeated([places[window - 1][at - 1] for window, at in zip(rest[::2], rest[1::2], strict=True)])
        if self._follower is not None and rest:
            self._follower.published(self._updates, answer.decode(), rest, self._begun_ns // 1000, self._asked_us)
        return rest
