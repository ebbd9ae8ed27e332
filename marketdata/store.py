"""Latest value and recent history of each topic, stamped (epoch, seq), in Redis.

Rules of this file:
1. Store and publish are one step (`publish.lua`): what a reader finds here and what the bus carried cannot disagree.
2. A body is stored as it was published, byte for byte.
3. Within an epoch a topic's `seq` grows by exactly 1 per update, whoever writes. A store that lost its memory begins a new epoch.
4. Updates and the epoch that they are said to be of are read in one transaction: a new epoch may begin at any moment.
"""

from __future__ import annotations

import secrets
import string
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

from django.conf import settings
from redis.exceptions import NoScriptError

from marketdata import dial
from marketdata.batch import SCRIPT, SCRIPT_SHA, Call, Mark, State, Update
from marketdata.layout import Layout
from marketdata.redis_errors import areachable, reachable
from marketdata.window import holds

NO_EPOCH = ""  # of a topic that was never published to
NO_ENDS: Mapping[str, int] = {}


class Stamped(NamedTuple):
    """One update as the store has it.

    Attributes:
        epoch: six letters and digits that name this life of the store.
        seq: 1, 2, 3 … within the epoch.
        published_us: when it was published, wall clock.
        body: JSON object, see `marketdata.ticks`.
    """

    epoch: str
    seq: int
    published_us: int
    body: bytes


class History(NamedTuple):
    """A stretch of one topic's updates, oldest first."""

    epoch: str
    updates: list[Stamped]


class Recalled(NamedTuple):
    """What is known of one topic: the newest update (None: it was never published to), and some before it, oldest first."""

    latest: Stamped | None
    updates: list[Stamped]


def new_epoch() -> str:
    """Six random letters and digits: one in two thousand million repeats."""
    return "".join(secrets.choice(_EPOCH_ALPHABET) for _ in range(6))


_EPOCH_ALPHABET = string.ascii_lowercase + string.digits


def now_us() -> int:
    """Wall clock in microseconds since the Unix epoch."""
    return time.time_ns() // 1000


def _latest(fields: list[Any]) -> Stamped | None:
    epoch, seq, published, body = fields
    return Stamped(epoch.decode(), int(seq), int(published), body) if body is not None else None


_LATEST_FIELDS = ("e", "s", "p", "b")
_AS_OF = (Path(__file__).parent / "as_of.lua").read_text()

# One argument with all topics and one flat reply, instead of one each: a tenth of what a pipeline of HMGET costs the reader.
_NEWEST = """
local found, at = {}, 0
for topic in string.gmatch(ARGV[2], '[^\\n]+') do
  local fields = redis.call('HMGET', ARGV[1] .. topic, 'e', 's', 'p', 'b')
  found[at + 1], found[at + 2], found[at + 3], found[at + 4] = fields[1], fields[2], fields[3], fields[4]
  at = at + 4
end
return found
"""


def _newest(reply: list[Any]) -> list[Stamped | None]:
    each = zip(reply[::4], reply[1::4], reply[2::4], reply[3::4], strict=True)
    return [Stamped(epoch.decode(), int(seq), int(at), body) if body is not None else None for epoch, seq, at, body in each]


_STAMPS = """
local found = {}
for i = 2, #ARGV do
  local stamp = redis.call('HMGET', ARGV[1] .. ARGV[i], 'e', 's')
  found[2 * i - 3], found[2 * i - 2] = stamp[1], stamp[2]
end
return found
"""


def _stamps(reply: list[Any]) -> list[tuple[str, int]]:
    return [(epoch.decode(), int(seq)) if epoch else (NO_EPOCH, 0) for epoch, seq in zip(reply[::2], reply[1::2], strict=True)]


def _as_of(reply: list[Any]) -> list[Stamped | None]:
    return [_latest(reply[at : at + 4]) for at in range(0, len(reply), 4)]


def _history_range(from_seq: int, to_seq: int | None) -> tuple[str, str]:
    return f"{max(from_seq, 1)}-0", "+" if to_seq is None else f"{to_seq}-0"


def _history(epoch: bytes | None, entries: list[Any], newest: bool) -> History:
    name = epoch.decode() if epoch else NO_EPOCH
    found = [Stamped(name, int(entry.partition(b"-")[0]), int(fields[b"p"]), fields[b"b"]) for entry, fields in entries]
    return History(name, found[::-1] if newest else found)


def _ask_recall(pipe: Any, layout: Layout, wanted: Sequence[tuple[str, int | None]], most: int, ends: Mapping[str, int]) -> None:
    for topic, after_seq in wanted:
        key = layout.topics + topic
        pipe.hmget(key, *_LATEST_FIELDS)
        if after_seq is not None:
            low, high = _history_range(after_seq + 1, ends.get(topic))
            pipe.xrevrange(f"{key}:h", high, low, min(most, layout.kept(topic)))


def _recalled(replies: list[Any], wanted: Sequence[tuple[str, int | None]]) -> list[Recalled]:
    answers, found = iter(replies), []
    for _, after_seq in wanted:
        fields = next(answers)
        entries = next(answers) if after_seq is not None else []
        found.append(Recalled(_latest(fields), _history(fields[0], entries, newest=True).updates))
    return found


def _known(windows: Sequence[bytes | None], ids: Sequence[tuple[str, str]]) -> list[bool]:
    return [holds(window or b"", name) for window, (_, name) in zip(windows, ids, strict=True)]


def _state(key: str, fields: list[Any]) -> State:
    version, value = fields
    return State(key, int(version or 0), value or b"")


class Store:
    """The store for synchronous code: views and Celery tasks. Safe among threads and after a fork."""

    def __init__(self, url: str, layout: Layout, wait_s: float = dial.TIMEOUT_S) -> None:
        self.layout = layout
        self.client = dial.client(url, wait_s)

    @classmethod
    def from_settings(cls, wait_s: float = dial.TIMEOUT_S) -> Self:
        """The store of this installation, which may take that long to answer."""
        return cls(settings.TICKWIRE.redis_url, Layout.from_settings(), wait_s)

    def publish(self, updates: Sequence[Update], states: Sequence[State] = (), mark: Mark | None = None) -> list[int]:
        """Store and publish a batch in one step.

        Args:
            updates: in order.
            states: those that guard the batch.
            mark: makes it safe to give the batch again after `StoreUnavailable`: it is done once at most.

        Returns:
            The seq of each update, in order; none when the mark says that the batch had been done before.

        Raises:
            Conflict: another writer changed one of the states; nothing was done.
            Repeated: some updates have ids that their topics had already; nothing was done.
            StoreUnavailable: Redis did not answer; the batch may or may not have been done.
            StoreRefused: Redis takes nothing; nothing was done.
        """
        call = Call(updates, states, mark)
        arguments = call.arguments(self.layout, new_epoch(), now_us())
        with reachable(self.client):
            try:
                reply = self.client.evalsha(SCRIPT_SHA, *arguments)
            except NoScriptError:
                reply = self.client.eval(SCRIPT, *arguments)
        return call.seqs(reply)

    def known(self, ids: Sequence[tuple[str, str]]) -> list[bool]:
        """Whether each (topic, id) is among the newest that its topic had, in one round trip.

        Raises:
            StoreUnavailable: Redis did not answer.
        """
        with reachable(self.client):
            windows: Any = self.client.mget([self.layout.window(topic) for topic, _ in ids])
        return _known(windows, ids)

    def load(self, keys: Sequence[str]) -> list[State]:
        """Read writers' states, in one round trip.

        Raises:
            StoreUnavailable: Redis did not answer.
        """
        with reachable(self.client), self.client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hmget(self.layout.state(key), "v", "d")
            return [_state(key, fields) for key, fields in zip(keys, pipe.execute(), strict=True)]

    def stamps(self, topics: Sequence[str]) -> list[tuple[str, int]]:
        """(epoch, seq) of the newest update of each topic, ("", 0) where there is none, in one round trip.

        Raises:
            StoreUnavailable: Redis did not answer.
        """
        with reachable(self.client):
            return _stamps(cast(list[Any], self.client.eval(_STAMPS, 0, self.layout.topics, *topics)))

    def latest(self, topics: Sequence[str]) -> list[Stamped | None]:
        """The newest update of each topic, None where there is none, in one round trip.

        Raises:
            StoreUnavailable: Redis did not answer.
        """
        if not topics:
            return []
        with reachable(self.client):
            return _newest(cast(list[Any], self.client.eval(_NEWEST, 0, self.layout.topics, "\n".join(topics))))

    def as_of(self, topics: Sequence[str], until_us: int) -> list[Stamped | None]:
        """The newest update of each topic that was published by `until_us`, in one round trip.

        None where there is none, or the history does not reach back so far.

        Raises:
            StoreUnavailable: Redis did not answer.
        """
        with reachable(self.client):
            return _as_of(cast(list[Any], self.client.eval(_AS_OF, 0, self.layout.topics, until_us, *topics)))

    def history(
        self, topic: str, *, from_seq: int = 1, to_seq: int | None = None, limit: int = 1000, newest: bool = False
    ) -> History:
        """Updates of a topic that are still kept: the oldest `limit` of the range, or the newest. Oldest first in either case.

        Raises:
            StoreUnavailable: Redis did not answer.
        """
        low, high = _history_range(from_seq, to_seq)
        key = self.layout.topics + topic
        with reachable(self.client), self.client.pipeline(transaction=True) as pipe:
            pipe.hget(key, "e")
            if newest:
                pipe.xrevrange(f"{key}:h", high, low, limit)
            else:
                pipe.xrange(f"{key}:h", low, high, limit)
            epoch, entries = pipe.execute()
        return _history(epoch, entries, newest)

    def recall(
        self, wanted: Sequence[tuple[str, int | None]], most: int = 1000, ends: Mapping[str, int] = NO_ENDS
    ) -> list[Recalled]:
        """Of each (topic, seq) the newest update, and what is kept after that seq, in one round trip for all.

        Args:
            wanted: where a seq is None, the newest update is all that is asked for.
            most: updates of one topic. Where there are more, the newest are returned, so that whoever finds the first one to be
                seq + 1 has them all.
            ends: of some of them a seq, after which their updates are of no interest.

        Raises:
            StoreUnavailable: Redis did not answer.
        """
        with reachable(self.client), self.client.pipeline(transaction=True) as pipe:
            _ask_recall(pipe, self.layout, wanted, most, ends)
            return _recalled(pipe.execute(), wanted)

    def close(self) -> None:
        """Give the connections back."""
        self.client.close()


class AsyncStore:
    """The store for asynchronous code: hub and feed process. Belongs to one event loop."""

    def __init__(self, url: str, layout: Layout) -> None:
        self.layout = layout
        self.client = dial.async_client(url)

    @classmethod
    def from_settings(cls) -> Self:
        """The store of this installation."""
        return cls(settings.TICKWIRE.redis_url, Layout.from_settings())

    async def publish(self, updates: Sequence[Update], states: Sequence[State] = (), mark: Mark | None = None) -> list[int]:
        """See `Store.publish`."""
        call = Call(updates, states, mark)
        arguments = call.arguments(self.layout, new_epoch(), now_us())
        async with areachable(self.client):
            try:
                reply = await self.client.evalsha(SCRIPT_SHA, *arguments)
            except NoScriptError:
                reply = await self.client.eval(SCRIPT, *arguments)
        return call.seqs(reply)

    async def known(self, ids: Sequence[tuple[str, str]]) -> list[bool]:
        """See `Store.known`."""
        async with areachable(self.client):
            windows: Any = await self.client.mget([self.layout.window(topic) for topic, _ in ids])
        return _known(windows, ids)

    async def load(self, keys: Sequence[str]) -> list[State]:
        """See `Store.load`."""
        async with areachable(self.client), self.client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hmget(self.layout.state(key), "v", "d")
            return [_state(key, fields) for key, fields in zip(keys, await pipe.execute(), strict=True)]

    async def stamps(self, topics: Sequence[str]) -> list[tuple[str, int]]:
        """See `Store.stamps`."""
        async with areachable(self.client):
            return _stamps(await self.client.eval(_STAMPS, 0, self.layout.topics, *topics))

    async def latest(self, topics: Sequence[str]) -> list[Stamped | None]:
        """See `Store.latest`."""
        if not topics:
            return []
        async with areachable(self.client):
            return _newest(await self.client.eval(_NEWEST, 0, self.layout.topics, "\n".join(topics)))

    async def as_of(self, topics: Sequence[str], until_us: int) -> list[Stamped | None]:
        """See `Store.as_of`."""
        async with areachable(self.client):
            return _as_of(await self.client.eval(_AS_OF, 0, self.layout.topics, until_us, *topics))

    async def history(
        self, topic: str, *, from_seq: int = 1, to_seq: int | None = None, limit: int = 1000, newest: bool = False
    ) -> History:
        """See `Store.history`."""
        low, high = _history_range(from_seq, to_seq)
        key = self.layout.topics + topic
        async with areachable(self.client), self.client.pipeline(transaction=True) as pipe:
            pipe.hget(key, "e")
            if newest:
                pipe.xrevrange(f"{key}:h", high, low, limit)
            else:
                pipe.xrange(f"{key}:h", low, high, limit)
            epoch, entries = await pipe.execute()
        return _history(epoch, entries, newest)

    async def recall(
        self, wanted: Sequence[tuple[str, int | None]], most: int = 1000, ends: Mapping[str, int] = NO_ENDS
    ) -> list[Recalled]:
        """See `Store.recall`."""
        async with areachable(self.client), self.client.pipeline(transaction=True) as pipe:
            _ask_recall(pipe, self.layout, wanted, most, ends)
            return _recalled(await pipe.execute(), wanted)

    async def close(self) -> None:
        """Give the connections back."""
        await self.client.aclose()
