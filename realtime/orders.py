"""What one process asks of all serving processes, over the bus: hear what changed, say who is connected, look on, end, drain.

Rules of this file:
1. An order reaches the processes that serve at that moment. What must not be missed they find in another way as well (`warden`).
2. A question names where its answers are to be left. They are gathered for a bounded time, from as many processes as heard it.
3. Everybody who can publish in Redis can give orders; SECURITY.md says so.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple, cast

import msgspec
import redis
from django.conf import settings

from marketdata import dial
from marketdata.errors import StoreUnavailable
from marketdata.reads import store_breaker
from marketdata.redis_errors import reachable
from realtime.census import By, Following, Found, Live, Topics, Wanted, ranked
from realtime.taps import Answer

GATHER_S = 1.5  # for answers; a process that hangs gives none
WAIT_S = 3.0  # for Redis itself
TELL_S = 1.0  # the same for what nobody waits for
ANSWERS_S = 10  # after which answers that nobody gathered are gone


class Changed(msgspec.Struct, frozen=True, tag="changed", omit_defaults=True):
    """Something at rest is different.

    Attributes:
        users: ids of users who, or whose accounts, keys or permissions, changed.
        sessions: keys of browser sessions that ended.
        plans, bans: some of them changed.
        everyone: nobody knows whom it concerns.
    """

    users: tuple[int, ...] = ()
    sessions: tuple[str, ...] = ()
    plans: bool = False
    bans: bool = False
    everyone: bool = False


class FindConnections(msgspec.Struct, frozen=True, tag="connections"):
    """Who is connected?"""

    reply_to: str
    wanted: Wanted


class FindTopics(msgspec.Struct, frozen=True, tag="topics"):
    """What is followed?"""

    reply_to: str
    limit: int
    by: By = "subscribers"


class Disconnect(msgspec.Struct, frozen=True, tag="disconnect"):
    """End a connection; the process that had it answers."""

    reply_to: str
    session: str


class Drain(msgspec.Struct, frozen=True, tag="drain"):
    """Take no more connections, and close those that there are; the process that is meant answers."""

    reply_to: str
    node: str


class Shed(msgspec.Struct, frozen=True, tag="shed"):
    """Close so many connections over so many seconds, so that they go elsewhere; the process that is meant answers."""

    reply_to: str
    node: str
    count: int
    over_s: float


class Tap(msgspec.Struct, frozen=True, tag="tap", kw_only=True):
    """Look on at a connection or a topic; each process answers whether it does.

    Attributes:
        key: of the stream that takes what is seen.
    """

    reply_to: str
    key: str
    session: str | None = None
    topic: str | None = None
    for_s: float


class Untap(msgspec.Struct, frozen=True, tag="untap"):
    """Look on no longer."""

    key: str


class TraceNext(msgspec.Struct, frozen=True, tag="trace"):
    """Note when the next update of a topic comes and goes; each process answers whether clients follow it there."""

    reply_to: str
    topic: str
    within_s: float


class FindHops(msgspec.Struct, frozen=True, tag="hops", kw_only=True):
    """When did updates come and go? Those of a topic and seq, where they are named."""

    reply_to: str
    topic: str | None = None
    seq: int | None = None
    asked: bool | None = None


Order = Changed | FindConnections | FindTopics | Disconnect | Drain | Shed | Tap | Untap | TraceNext | FindHops
read_order = msgspec.json.Decoder(Order).decode


class Connections(NamedTuple):
    """Connections of all processes.

    Attributes:
        rows: the newest first.
        total: how many fit what was asked, those that are not among the rows included.
        silent: processes that heard the question and did not answer in time.
    """

    rows: list[Live]
    total: int
    silent: int


def channel(prefix: str) -> str:
    """The Redis channel of an installation's orders."""
    return f"{prefix}:orders"


class Orders:
    """Gives orders to the processes of one installation. For synchronous code; safe among threads.

    Args:
        url: of the installation's Redis.
        prefix: first part of its keys.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self.prefix = prefix
        self._client = dial.client(url, WAIT_S)
        self._teller = dial.client(url, TELL_S)
        self._breaker = store_breaker("giving orders to serving processes")

    def tell(self, change: Changed) -> None:
        """Have every serving process look at what changed.

        Raises:
            StoreUnavailable: Redis did not take it. The processes find out by themselves, later.
        """
        with self._breaker.asking(), reachable(self._teller):
            self._teller.publish(channel(self.prefix), msgspec.json.encode(change))

    def connections(self, **wanted: Any) -> Connections:
        """Find live connections.

        Args:
            wanted: see `census.Wanted`.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        asked = Wanted(**wanted)
        answers, silent = self._ask(FindConnections(self._reply_to(), asked))
        found = [msgspec.json.decode(answer, type=Found) for answer in answers]
        rows = sorted((row for each in found for row in each.rows), key=lambda row: row.opened_at, reverse=True)
        return Connections(rows[: asked.limit], sum(each.total for each in found), silent)

    def topics(self, limit: int, by: By = "subscribers") -> list[Following]:
        """The topics with most subscribers, updates or bytes a second, over all processes.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        answers, _ = self._ask(FindTopics(self._reply_to(), limit, by))
        merged: dict[str, Following] = {}
        for answer in answers:
            for row in msgspec.json.decode(answer, type=Topics).topics:
                merged[row.topic] = row.added_to(merged[row.topic]) if row.topic in merged else row
        return ranked(merged.values(), by)[:limit]

    def disconnect(self, session: str) -> bool:
        """End a connection, wherever it is. False: no process has it.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        return bool(self._ask(Disconnect(self._reply_to(), session), answers_at_most=1)[0])

    def drain(self, node: str) -> bool:
        """Have a process take no more connections and close those that it has. False: there is no such process.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        return bool(self._ask(Drain(self._reply_to(), node), answers_at_most=1)[0])

    def shed(self, node: str, count: int, over_s: float) -> bool:
        """Have a process close some connections, which go elsewhere. False: there is no such process.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        return bool(self._ask(Shed(self._reply_to(), node, count, over_s), answers_at_most=1)[0])

    def tap(self, key: str, for_s: float, *, session: str | None = None, topic: str | None = None) -> list[Answer]:
        """Have the processes that have a connection, or a topic, copy what passes into a stream. Returns what each says.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        answers, _ = self._ask(Tap(reply_to=self._reply_to(), key=key, session=session, topic=topic, for_s=for_s))
        return [msgspec.json.decode(answer, type=Answer) for answer in answers]

    def untap(self, key: str) -> None:
        """Have them do so no longer.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        with self._breaker.asking(), reachable(self._client):
            self._client.publish(channel(self.prefix), msgspec.json.encode(Untap(key)))

    def trace_next(self, topic: str, within_s: float) -> int:
        """Have the next update of a topic noted. Returns in how many processes clients follow it.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        answers, _ = self._ask(TraceNext(self._reply_to(), topic, within_s))
        return sum(msgspec.json.decode(answer, type=bool) for answer in answers)

    def hops(self, **which: Any) -> tuple[Sequence[bytes], int]:
        """What each process noted of updates, as JSON that `monitoring` knows, and how many did not answer in time.

        Args:
            which: see `FindHops`.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        return self._ask(FindHops(reply_to=self._reply_to(), **which))

    def _reply_to(self) -> str:
        return f"{self.prefix}:answers:{secrets.token_hex(8)}"

    def _ask(self, order: Any, answers_at_most: int | None = None) -> tuple[Sequence[bytes], int]:
        """The answers, and how many processes heard the question without giving one."""
        with self._breaker.asking(), reachable(self._client):
            heard = self._client.publish(channel(self.prefix), msgspec.json.encode(order))
            expected = heard if answers_at_most is None else min(heard, answers_at_most)
            answers = _gather(self._client, order.reply_to, expected)
        return answers, heard - len(answers)


def _gather(client: redis.Redis, key: str, expected: int) -> list[bytes]:
    answers: list[bytes] = []
    until = time.monotonic() + GATHER_S
    while len(answers) < expected and (left_s := until - time.monotonic()) > 0:
        found = cast(tuple[bytes, bytes] | None, client.blpop([key], timeout=max(left_s, 0.01)))
        if found is not None:
            answers.append(found[1])
    return answers


def orders() -> Orders:
    """Those of this installation."""
    return _orders(settings.TICKWIRE.redis_url, settings.TICKWIRE.bus.prefix)


@cache
def _orders(url: str, prefix: str) -> Orders:
    return Orders(url, prefix)


def tell(change: Changed) -> None:
    """Have every serving process look at what changed; while Redis is away they find out by themselves."""
    try:
        orders().tell(change)
    except StoreUnavailable:
        pass  # the breaker has logged it
