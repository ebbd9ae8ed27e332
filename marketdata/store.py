"""Latest value and recent history of each topic, stamped (epoch, seq): Redis, and its in-memory twin.

Rules of this file:
1. Store and publish are one step (`publish.lua`): what a reader finds here and what the bus carried cannot disagree.
2. A body is stored as it was published, byte for byte.
3. Within an epoch a topic's `seq` grows by exactly 1 per update, whoever writes. A store that lost its memory begins a new epoch.
"""

from __future__ import annotations

import hashlib
import secrets
import string
import struct
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import redis
import redis.asyncio
from django.conf import settings
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from marketdata.errors import Conflict, StoreUnavailable
from marketdata.topics import GROUP_PREFIX, DataType, redis_channel

SCRIPT = (Path(__file__).parent / "publish.lua").read_text()
SCRIPT_SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
TIMEOUT_S = 5.0
NO_EPOCH = ""  # of a topic that was never published to


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


class Update(NamedTuple):
    """One body on its way to a topic."""

    topic: str
    body: bytes


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


class History(NamedTuple):
    """A stretch of one topic's updates, oldest first."""

    epoch: str
    updates: list[Stamped]


@dataclass(frozen=True)
class Layout:
    """Names of keys and channels, and how much of each type is kept."""

    prefix: str
    history: int = 1000
    depth_history: int = 100

    @classmethod
    def from_settings(cls) -> Self:
        """The layout of this installation."""
        bus = settings.TICKWIRE.bus
        return cls(bus.prefix, bus.history_updates, bus.history_depth_updates)

    @property
    def life(self) -> str:
        """Key of the store's life: which Redis process, which epoch."""
        return f"{self.prefix}:life"

    @property
    def topics(self) -> str:
        """What the key of each topic begins with."""
        return f"{self.prefix}:t:"

    @property
    def channels(self) -> str:
        """What the Redis channel of each topic's group begins with."""
        return redis_channel(self.prefix, GROUP_PREFIX)

    def state(self, key: str) -> str:
        """Key of a writer's state."""
        return f"{self.prefix}:s:{key}"

    def kept(self, topic: str) -> int:
        """How many updates of the topic are kept for repair and replay."""
        return self.depth_history if topic.startswith(DataType.DEPTH) else self.history


# The message of publish.lua: every field but the last at a fixed place.
_HEAD = b"\x85\xa4type\xadmarket.update\xa3seq\xcf"
_STAMP = struct.Struct(f">{len(_HEAD)}x Q 7x 6s 6x I")
_BODY_AT = _STAMP.size


def read_message(payload: bytes) -> tuple[str, int, bytes] | None:
    """Take apart a bus message that `publish.lua` wrote: (epoch, seq, body). None when somebody else wrote it."""
    if not payload.startswith(_HEAD):
        return None
    seq, epoch, length = _STAMP.unpack_from(payload)
    return epoch.decode(), seq, payload[_BODY_AT : _BODY_AT + length]


def write_message(topic: str, epoch: str, seq: int, body: bytes) -> bytes:
    """Lay out a bus message as `publish.lua` does."""
    name = topic.encode()
    return b"".join(
        (
            _HEAD, struct.pack(">Q", seq), b"\xa5epoch\xa6", epoch.encode(), b"\xa4data\xdb", struct.pack(">I", len(body)), body,
            b"\xa5topic\xd9", bytes([len(name)]), name,
        )
    )  # fmt: skip


def new_epoch() -> str:
    """Six random letters and digits: one in two thousand million repeats."""
    return "".join(secrets.choice(_EPOCH_ALPHABET) for _ in range(6))


_EPOCH_ALPHABET = string.ascii_lowercase + string.digits


def now_us() -> int:
    """Wall clock in microseconds since the Unix epoch."""
    return time.time_ns() // 1000


def _script_call(layout: Layout, updates: Sequence[Update], states: Sequence[State]) -> list[Any]:
    """Arguments of EVALSHA behind the script's name."""
    call: list[Any] = [1 + len(states), layout.life, *(layout.state(state.key) for state in states)]
    call += (new_epoch(), now_us(), layout.topics, layout.channels)
    for state in states:
        call += (state.version, state.value)
    for topic, body in updates:
        call += (topic, layout.kept(topic), body)
    return call


def _script_reply(reply: list[Any], states: Sequence[State]) -> list[int]:
    if reply[0] is None:
        raise Conflict([states[index - 1].key for index in reply[1:]])
    return reply[1:]


def _latest(fields: list[Any]) -> Stamped | None:
    epoch, seq, published, body = fields
    return Stamped(epoch.decode(), int(seq), int(published), body) if body is not None else None


_LATEST_FIELDS = ("e", "s", "p", "b")


def _history_range(from_seq: int, to_seq: int | None) -> tuple[str, str]:
    return f"{max(from_seq, 1)}-0", "+" if to_seq is None else f"{to_seq}-0"


def _history(epoch: bytes | None, entries: list[Any], newest: bool) -> History:
    name = epoch.decode() if epoch else NO_EPOCH
    found = [Stamped(name, int(entry.partition(b"-")[0]), int(fields[b"p"]), fields[b"b"]) for entry, fields in entries]
    return History(name, found[::-1] if newest else found)


def _state(key: str, fields: list[Any]) -> State:
    version, value = fields
    return State(key, int(version or 0), value or b"")


@contextmanager
def reachable() -> Iterator[None]:
    """Whatever goes wrong with Redis inside is raised as `StoreUnavailable`."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise StoreUnavailable(f"Redis: {error or type(error).__name__}") from error


def connection_options() -> dict[str, Any]:
    """How every Redis client of Tickwire is made.

    No retries inside the client: a publish that may have been done must not be done again behind the caller's back.
    """
    return {
        "socket_timeout": TIMEOUT_S,
        "socket_connect_timeout": TIMEOUT_S,
        "max_connections": 1000,
    }


class Store:
    """The store for synchronous code: views and Celery tasks. Safe among threads and after a fork."""

    def __init__(self, url: str, layout: Layout) -> None:
        self.layout = layout
        self.client = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **connection_options())

    @classmethod
    def from_settings(cls) -> Self:
        """The store of this installation."""
        return cls(settings.TICKWIRE.redis_url, Layout.from_settings())

    def publish(self, updates: Sequence[Update], states: Sequence[State] = ()) -> list[int]:
        """Store and publish a batch in one step.

        Returns:
            The seq of each update, in order.

        Raises:
            Conflict: another writer changed one of the states; nothing was done.
            StoreUnavailable: Redis did not answer; the batch may or may not have been done.
        """
        call = _script_call(self.layout, updates, states)
        with reachable():
            try:
                reply = self.client.evalsha(SCRIPT_SHA, *call)
            except NoScriptError:
                reply = self.client.eval(SCRIPT, *call)
        return _script_reply(reply, states)

    def load(self, keys: Sequence[str]) -> list[State]:
        """Read writers' states, in one round trip.

        Raises:
            StoreUnavailable: Redis did not answer.
        """
        with reachable(), self.client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hmget(self.layout.state(key), "v", "d")
            return [_state(key, fields) for key, fields in zip(keys, pipe.execute(), strict=True)]

    def latest(self, topics: Sequence[str]) -> list[Stamped | None]:
        """The newest update of each topic, None where there is none, in one round trip.

        Raises:
            StoreUnavailable: Redis did not answer.
        """
        with reachable(), self.client.pipeline(transaction=False) as pipe:
            for topic in topics:
                pipe.hmget(self.layout.topics + topic, *_LATEST_FIELDS)
            return [_latest(fields) for fields in pipe.execute()]

    def history(
        self, topic: str, *, from_seq: int = 1, to_seq: int | None = None, limit: int = 1000, newest: bool = False
    ) -> History:
        """Updates of a topic that are still kept: the oldest `limit` of the range, or the newest. Oldest first in either case.

        Raises:
            StoreUnavailable: Redis did not answer.
        """
        low, high = _history_range(from_seq, to_seq)
        key = self.layout.topics + topic
        with reachable(), self.client.pipeline(transaction=False) as pipe:
            pipe.hget(key, "e")
            if newest:
                pipe.xrevrange(f"{key}:h", high, low, limit)
            else:
                pipe.xrange(f"{key}:h", low, high, limit)
            epoch, entries = pipe.execute()
        return _history(epoch, entries, newest)

    def close(self) -> None:
        """Give the connections back."""
        self.client.close()


class AsyncStore:
    """The store for asynchronous code: hub and feed process. Belongs to one event loop."""

    def __init__(self, url: str, layout: Layout) -> None:
        self.layout = layout
        self.client = redis.asyncio.Redis.from_url(url, retry=AsyncRetry(NoBackoff(), 0), **connection_options())

    @classmethod
    def from_settings(cls) -> Self:
        """The store of this installation."""
        return cls(settings.TICKWIRE.redis_url, Layout.from_settings())

    async def publish(self, updates: Sequence[Update], states: Sequence[State] = ()) -> list[int]:
        """See `Store.publish`."""
        call = _script_call(self.layout, updates, states)
        with reachable():
            try:
                reply = await self.client.evalsha(SCRIPT_SHA, *call)
            except NoScriptError:
                reply = await self.client.eval(SCRIPT, *call)
        return _script_reply(reply, states)

    async def load(self, keys: Sequence[str]) -> list[State]:
        """See `Store.load`."""
        with reachable():
            async with self.client.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.hmget(self.layout.state(key), "v", "d")
                return [_state(key, fields) for key, fields in zip(keys, await pipe.execute(), strict=True)]

    async def latest(self, topics: Sequence[str]) -> list[Stamped | None]:
        """See `Store.latest`."""
        with reachable():
            async with self.client.pipeline(transaction=False) as pipe:
                for topic in topics:
                    pipe.hmget(self.layout.topics + topic, *_LATEST_FIELDS)
                return [_latest(fields) for fields in await pipe.execute()]

    async def history(
        self, topic: str, *, from_seq: int = 1, to_seq: int | None = None, limit: int = 1000, newest: bool = False
    ) -> History:
        """See `Store.history`."""
        low, high = _history_range(from_seq, to_seq)
        key = self.layout.topics + topic
        with reachable():
            async with self.client.pipeline(transaction=False) as pipe:
                pipe.hget(key, "e")
                if newest:
                    pipe.xrevrange(f"{key}:h", high, low, limit)
                else:
                    pipe.xrange(f"{key}:h", low, high, limit)
                epoch, entries = await pipe.execute()
        return _history(epoch, entries, newest)

    async def close(self) -> None:
        """Give the connections back."""
        await self.client.aclose()


@dataclass
class _MemoryTopic:
    history: deque[Stamped]
    seq: int = 0


@dataclass
class MemoryStore:
    """The twin without Redis: same methods, same answers, one process. For tests and for trying things out.

    Attributes:
        messages: what went onto the bus: (topic, message).
    """

    layout: Layout = field(default_factory=lambda: Layout("memory"))
    epoch: str = field(default_factory=new_epoch)
    messages: list[tuple[str, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._topics: dict[str, _MemoryTopic] = {}
        self._states: dict[str, State] = {}

    def wipe(self) -> None:
        """Lose everything, as FLUSHALL does."""
        self._topics.clear()
        self._states.clear()
        self.epoch = new_epoch()

    def publish(self, updates: Sequence[Update], states: Sequence[State] = ()) -> list[int]:
        """See `Store.publish`."""
        stale = [state.key for state in states if self.load([state.key])[0].version != state.version]
        if stale:
            raise Conflict(stale)
        for key, version, value in states:
            self._states[key] = State(key, version + 1, value)
        return [self._append(update) for update in updates]

    def _append(self, update: Update) -> int:
        topic = self._topics.setdefault(update.topic, _MemoryTopic(deque(maxlen=self.layout.kept(update.topic))))
        topic.seq += 1
        topic.history.append(Stamped(self.epoch, topic.seq, now_us(), update.body))
        self.messages.append((update.topic, write_message(update.topic, self.epoch, topic.seq, update.body)))
        return topic.seq

    def load(self, keys: Sequence[str]) -> list[State]:
        """See `Store.load`."""
        return [self._states.get(key, State(key, 0, b"")) for key in keys]

    def latest(self, topics: Sequence[str]) -> list[Stamped | None]:
        """See `Store.latest`."""
        return [self._topics[topic].history[-1] if topic in self._topics else None for topic in topics]

    def history(
        self, topic: str, *, from_seq: int = 1, to_seq: int | None = None, limit: int = 1000, newest: bool = False
    ) -> History:
        """See `Store.history`."""
        if topic not in self._topics:
            return History(NO_EPOCH, [])
        kept = self._topics[topic].history
        found = [update for update in kept if from_seq <= update.seq and (to_seq is None or update.seq <= to_seq)]
        return History(self.epoch, found[-limit:] if newest else found[:limit])

    def close(self) -> None:
        """Nothing to give back."""
