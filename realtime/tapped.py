"""What taps copied, as REST begins, reads and ends it: a stream of copies and a note of what is looked at, both with an end."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple, cast

import msgspec
from django.conf import settings

from marketdata.redis_errors import reachable
from marketdata.store import Stamped, Store, now_us
from realtime.orders import orders
from realtime.taps import KEPT_S, Copy

WAIT_S = 2.0  # for Redis
AT_ONCE = 200  # copies in one answer
BEGINNING = "0-0"


class About(msgspec.Struct, frozen=True):
    """A tap at rest.

    Attributes:
        of: the topic, or what the log calls the connection.
        until_us: wall clock at which it ends at the latest.
    """

    of: str
    until_us: int


class Begun(NamedTuple):
    """A tap that was asked for; without an id nobody has what is meant, or all have too many."""

    id: str | None
    nodes: int
    full: bool


class Seen(Copy, frozen=True, kw_only=True):
    """A copy with its place in the stream."""

    id: str


class Tapped:
    """The taps of an installation."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def begin(self, about: About, for_s: float, *, session: str | None = None, topic: str | None = None, last: int = 0) -> Begun:
        """Have it looked at. A topic begins with the newest `last` updates that the store keeps.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        id = secrets.token_hex(8)
        if topic is not None and last:
            self._keep(id, self.store.history(topic, limit=last, newest=True).updates)
        answers = orders().tap(self._stream(id), for_s, session=session, topic=topic)
        nodes = answers.count("on")
        if not nodes:
            self._forget(id)
            return Begun(None, 0, "full" in answers)
        with reachable(self.store.client):
            self.store.client.set(self._note(id), msgspec.json.encode(about), ex=round(for_s) + KEPT_S)
        return Begun(id, nodes, False)

    def _keep(self, id: str, updates: Sequence[Stamped]) -> None:
        now, client = now_us(), self.store.client
        with reachable(client), client.pipeline(transaction=True) as pipe:
            for epoch, seq, published_us, body in updates:
                told = {"epoch": epoch, "seq": seq, "published_us": published_us, "data": msgspec.json.decode(body)}
                pipe.xadd(self._stream(id), {"c": msgspec.json.encode(Copy(now, None, "stored", told))})
            pipe.expire(self._stream(id), KEPT_S)
            pipe.execute()

    def about(self, id: str) -> About | None:
        """What is looked at; None: there is no such tap any more.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        with reachable(self.store.client):
            found = cast(bytes | None, self.store.client.get(self._note(id)))
        return None if found is None else msgspec.json.decode(found, type=About)

    def read(self, id: str, after: str = BEGINNING) -> list[Seen]:
        """Copies after that one, the oldest first.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        with reachable(self.store.client):
            rows = cast(list[Any], self.store.client.xrange(self._stream(id), f"({after}", "+", AT_ONCE))
        copies = [(name.decode(), msgspec.json.decode(fields[b"c"], type=Copy)) for name, fields in rows]
        return [Seen(**msgspec.structs.asdict(copy), id=name) for name, copy in copies]

    def end(self, id: str) -> None:
        """Have it looked at no longer, and forget what was seen.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        orders().untap(self._stream(id))
        self._forget(id)

    def _forget(self, id: str) -> None:
        with reachable(self.store.client):
            self.store.client.delete(self._stream(id), self._note(id))

    def _stream(self, id: str) -> str:
        return f"{self.store.layout.prefix}:tap:{id}"

    def _note(self, id: str) -> str:
        return f"{self.store.layout.prefix}:tapped:{id}"


def tapped() -> Tapped:
    """Those of this installation."""
    return _tapped(settings.TICKWIRE.redis_url, settings.TICKWIRE.bus.prefix)


@cache
def _tapped(url: str, prefix: str) -> Tapped:  # noqa: ARG001  # what the settings say, as the key
    return Tapped(Store.from_settings(WAIT_S))
