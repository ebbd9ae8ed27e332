"""Looks on at a connection or a topic for a while: what passes is copied, without secrets, into a Redis stream that REST reads.

Rules of this file:
1. Where nobody looks on nothing is different: a connection that is looked at has another sink, a topic another receiver.
2. What passes goes on first and is copied then. What would be too much is not copied but counted; a copy that fails ends the tap.
3. No token and no name of a session is copied.
4. It ends by itself: after its time, its messages or its bytes, or with the connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import msgspec

from marketdata.errors import StoreUnavailable
from marketdata.message import read_message
from marketdata.redis_errors import areachable
from marketdata.store import now_us
from realtime import protocol
from realtime.connection import Connection, Sink
from realtime.frames import opened
from realtime.redaction import redacted, redacted_command

if TYPE_CHECKING:
    from realtime.hub import Hub

logger = logging.getLogger(__name__)

LONGEST_S = 60.0
KEPT_S = 120  # what was copied, from then on
KEPT = 1000  # copies of a tap, the newest, over all processes
MOST_MESSAGES, MOST_BYTES = 5000, 2 << 20  # of one process; then the tap ends there
LONGEST_BYTES = 8192  # of one copy
EVERY_S, AT_ONCE = 0.2, 100  # copies go to Redis so often, so many at most
MOST_OPEN = 8  # taps of a process
KNOWN = 50  # topics of a connection of which it is told how it knows them

What = Literal["begun", "stored", "known", "sent", "command", "update", "missed", "ended"]
Answer = Literal["on", "no", "full"]


class Copy(msgspec.Struct, frozen=True):
    """Something that a tap saw.

    Attributes:
        what: `sent` to the client, `command` from it, `update` of a topic; `known` and `stored` from before it began.
    """

    at_us: Annotated[int, msgspec.Meta(description="µs since the Unix epoch")]
    node: Annotated[str | None, msgspec.Meta(description="null: the store")]
    what: Annotated[What, msgspec.Meta(extra_json_schema={"type": "string"})]
    message: dict[str, Any]


class Tap:
    """One, in this process.

    Args:
        hub: whose store takes the copies.
        node: name of this process.
        key: of the stream.
        for_s: after which it ends.

    Attributes:
        over: why it ended; None while it goes on.
    """

    def __init__(self, hub: Hub, node: str, key: str, for_s: float) -> None:
        self.hub, self.node, self.key = hub, node, key
        self.over: str | None = None
        self.release: Callable[[], None] = lambda: None  # what it looks at is as before
        self._until = hub.time() + min(for_s, LONGEST_S)
        self._waiting: list[bytes] = []
        self._messages = self._bytes = self._missed = 0
        self._discarded = False

    def see(self, what: What, messages: Iterable[dict[str, Any]]) -> None:
        """Copy messages; those that are too many are not even looked at. Never raises."""
        if self.over is not None or len(self._waiting) >= AT_ONCE:
            self._missed += 1
            return
        try:
            for message in messages:
                self._put(what, message)
        except Exception:
            logger.exception("a tap failed; what it looked at goes on")
            self.end("failed")

    def _put(self, what: What, message: dict[str, Any]) -> None:
        copy = msgspec.json.encode(Copy(now_us(), self.node, what, message))
        if len(copy) > LONGEST_BYTES:
            told = {"type": message.get("type"), "topic": message.get("topic"), "cut": len(copy)}
            copy = msgspec.json.encode(Copy(now_us(), self.node, what, told))
        self._waiting.append(copy)
        self._messages, self._bytes = self._messages + 1, self._bytes + len(copy)
        if self._messages >= MOST_MESSAGES or self._bytes >= MOST_BYTES:
            self.end("messages" if self._messages >= MOST_MESSAGES else "bytes")

    def end(self, why: str) -> None:
        """Look on no longer."""
        if self.over is None:
            self.over = why
            self.release()

    def discard(self) -> None:
        """The same, and nobody wants to know what there still was."""
        self._discarded = True
        self.end("asked")

    async def run(self) -> None:
        """Bring copies to Redis until it is over."""
        task = cast(asyncio.Task[None], asyncio.current_task())
        try:
            while self.over is None and self.hub.time() < self._until and not task.cancelling():  # redis-py may swallow that
                await self._write()
                await asyncio.sleep(EVERY_S)
        finally:
            self.end("time")
        if not self._discarded:
            self._put("ended", {"why": self.over})
            await self._write()

    async def _write(self) -> None:
        if self._missed:
            self._put("missed", {"count": self._missed})
        copies, self._waiting, self._missed = self._waiting, [], 0
        client = self.hub.store.client
        try:
            async with areachable(client), client.pipeline(transaction=False) as pipe:
                for copy in copies:
                    pipe.xadd(self.key, {"c": copy}, maxlen=KEPT, approximate=False)
                pipe.expire(self.key, KEPT_S)
                await pipe.execute()
        except StoreUnavailable:
            self._missed += len(copies)


class TappedSink:
    """A connection's sink that shows what it is given; see `realtime.connection.Sink`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.sink: Sink = connection.sink
        self.taps: list[Tap] = []

    def __getattr__(self, name: str) -> Any:
        """`framed`, `deflates`, `full` and who is told of pauses are the sink's."""
        return getattr(self.sink, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("on_pause", "on_resume"):
            setattr(self.sink, name, value)
        else:
            super().__setattr__(name, value)

    def write(self, payload: bytes | list[bytes]) -> bool:
        """Hand over, then show."""
        taken = self.sink.write(payload)
        for tap in list(self.taps) if taken else ():
            tap.see("sent", map(redacted, opened(payload)))
        return taken

    def hear(self, data: bytes | str) -> None:
        """Show a command."""
        for tap in list(self.taps):
            tap.see("command", map(redacted_command, [data]))

    def close(self, code: int, reason: str) -> None:
        """Close, and show with what."""
        self.sink.close(code, reason)
        for tap in list(self.taps):
            tap.see("sent", [{"type": "close", "code": code, "reason": reason}])

    def release(self) -> None:
        """The socket is gone."""
        self.sink.release()
        for tap in list(self.taps):
            tap.end("the connection ended")

    def leave(self, tap: Tap) -> None:
        """One looks on no longer; with the last one everything is as it was."""
        self.taps.remove(tap)
        if not self.taps and self.connection.sink is self:
            self.connection.sink, self.connection.tap = self.sink, None


class TappedTopic:
    """What the bus calls with the messages of a topic that is looked at."""

    def __init__(self, hub: Hub, channel: bytes) -> None:
        self.hub, self.channel = hub, channel
        self.before: Callable[[bytes], None] | None = None
        self.taps: list[Tap] = []

    def __call__(self, payload: bytes) -> None:
        assert self.before is not None
        self.before(payload)
        for tap in list(self.taps):
            tap.see("update", _updates(payload))

    def enter(self, tap: Tap) -> None:
        """One looks on; of a topic that was left and joined anew meanwhile it is the new receiver that is called."""
        before = self.hub.bus.redirect(self.channel, self)
        if before is not self:
            self.before = before
        self.taps.append(tap)

    def leave(self, tap: Tap) -> None:
        """One looks on no longer; with the last one everything is as it was."""
        self.taps.remove(tap)
        if not self.taps and self.before is not None:
            now = self.hub.bus.redirect(self.channel, self.before)
            if now is not None and now is not self:  # the topic was joined anew
                self.hub.bus.redirect(self.channel, now)


def _updates(payload: bytes) -> Iterator[dict[str, Any]]:
    message = read_message(payload)
    if message is not None:
        epoch, seq, body = message
        yield {"epoch": epoch, "seq": seq, "data": msgspec.json.decode(body)}


class Taps:
    """All of a process."""

    def __init__(self, hub: Hub, node: str) -> None:
        self.hub, self.node = hub, node
        self._open: dict[str, Tap] = {}
        self._topics: dict[bytes, TappedTopic] = {}

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, key: str, session: str | None, topic: str | None, for_s: float) -> Answer:
        """Look on, if what is meant is here."""
        connection, entry = self.hub.connections.get(session or ""), self.hub.entries.get(topic or "")
        if connection is None and entry is None:
            return "no"
        if len(self._open) >= MOST_OPEN:
            return "full"
        tap = self._open[key] = Tap(self.hub, self.node, key, for_s)
        tap.see("begun", [{}])
        if connection is not None:
            self._look_at(connection, tap)
        elif entry is not None:
            tapped = self._topics.setdefault(entry.channel, TappedTopic(self.hub, entry.channel))
            tapped.enter(tap)
            tap.release = lambda: self._left(tapped, tap)
        self.hub.spawn(self._run(tap))
        return "on"

    def _look_at(self, connection: Connection, tap: Tap) -> None:
        if not isinstance(connection.sink, TappedSink):
            connection.sink = TappedSink(connection)
            connection.tap = connection.sink.hear
        tapped = connection.sink
        tapped.taps.append(tap)
        tap.release = lambda: tapped.leave(tap)
        paces = list(connection.cohort.paces.items())[:KNOWN] if connection.cohort is not None else []
        views = [(name, *view) for name, pace in paces if (view := pace.view())[1]]
        tap.see("known", (message for view in views for message in opened([protocol.snapshot(*view)])))

    def _left(self, tapped: TappedTopic, tap: Tap) -> None:
        tapped.leave(tap)
        if not tapped.taps:
            self._topics.pop(tapped.channel, None)

    async def _run(self, tap: Tap) -> None:
        try:
            await tap.run()
        finally:
            self._open.pop(tap.key, None)

    def end(self, key: str) -> None:
        """Look on no longer, and tell nobody."""
        if (tap := self._open.get(key)) is not None:
            tap.discard()
