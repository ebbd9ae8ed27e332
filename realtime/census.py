"""Who is connected to this process, and what is followed here: rows for those who ask all processes."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import msgspec

from realtime.cohorts import Entry
from realtime.connection import Connection
from realtime.hub import Hub
from realtime.places import is_inside

MOST_ROWS = 200  # in an answer
By = Literal["subscribers", "rate", "bytes"]  # what topics are ranked by
Time = Annotated[int, msgspec.Meta(description="µs since the Unix epoch")]


class Wanted(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which connections; what is None does not matter.

    Attributes:
        user, user_id, plan, node, session: exactly that.
        address: exactly that, or a network like 10.0.0.0/8.
        slow: whether it keeps up.
        search: part of user, address, plan, node or session, in any case.
        limit: rows at most, of each process and in all.
    """

    user: str | None = None
    user_id: int | None = None
    plan: str | None = None
    node: str | None = None
    session: str | None = None
    address: str | None = None
    slow: bool | None = None
    search: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_ROWS)] = MOST_ROWS


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """A live connection. `user` and `key` are null for visitors, `key` also without an API key."""

    session: str
    user: str | None
    key: str | None
    plan: str | None
    address: str
    client: Annotated[str, msgspec.Meta(description="what it says of itself, `User-Agent`")]
    node: str
    opened_at: Time
    topics: int
    sent: Annotated[int, msgspec.Meta(description="updates")]
    bytes: Annotated[int, msgspec.Meta(description="handed to its socket")]
    queued: Annotated[int, msgspec.Meta(description="messages that wait for it")]
    lag_ms: int
    conflated: int
    gaps: int
    slow: bool


class Found(msgspec.Struct, frozen=True):
    """What one process has of what was asked for."""

    total: int
    rows: list[Live]


class Following(msgspec.Struct, frozen=True):
    """A topic that clients follow. `seq` and `epoch` are those of the newest update."""

    topic: str
    subscribers: int
    nodes: int
    epoch: str | None
    seq: int
    rate: Annotated[float, msgspec.Meta(description="updates a second that were published, over the last seconds")]
    bytes: Annotated[int, msgspec.Meta(description="a second to all subscribers, estimated: the newest body at that rate")]

    def added_to(self, other: Following) -> Following:
        """The same topic over two processes."""
        newest = max(self, other, key=lambda row: row.seq)
        subscribers, nodes = self.subscribers + other.subscribers, self.nodes + other.nodes
        rate, size = max(self.rate, other.rate), self.bytes + other.bytes
        return Following(self.topic, subscribers, nodes, newest.epoch, newest.seq, rate, size)


def ranked(rows: Iterable[Following], by: By) -> list[Following]:
    """Topics, those with most of it first."""
    return sorted(rows, key=lambda row: (-getattr(row, by), row.topic))


class Topics(msgspec.Struct, frozen=True):
    """The topics of one process."""

    topics: list[Following]


def connections(hub: Hub, node: str, wanted: Wanted) -> Found:
    """The connections that are wanted, the newest first, and how many there are."""
    if wanted.node not in (None, node):
        return Found(0, [])
    fitting = [connection for connection in hub.connections.values() if _fits(connection, node, wanted)]
    newest = sorted(fitting, key=lambda connection: connection.opened_us, reverse=True)[: wanted.limit]
    now = hub.time()
    return Found(len(fitting), [_live(connection, node, now) for connection in newest])


def _fits(connection: Connection, node: str, wanted: Wanted) -> bool:
    principal = connection.principal
    name = principal.name if principal is not None else None
    plan = principal.plan_name if principal is not None else None
    return (
        wanted.user in (None, name)
        and wanted.user_id in (None, principal.user_id if principal is not None else None)
        and wanted.plan in (None, plan)
        and wanted.session in (None, connection.session)
        and (wanted.slow is None or wanted.slow == (connection.slow_since is not None))
        and (wanted.address is None or is_within(connection.address, wanted.address))
        and (wanted.search is None or _mentions((name, plan, connection.address, node, connection.session), wanted.search))
    )


def is_within(address: str, network: str) -> bool:
    """Whether an address is that one, or in that network."""
    try:
        return is_inside(address, [ipaddress.ip_network(network, strict=False)])
    except ValueError:
        return address == network


def _mentions(texts: Iterable[str | None], part: str) -> bool:
    return any(part.casefold() in text.casefold() for text in texts if text)


def _live(connection: Connection, node: str, now: float) -> Live:
    principal, outbox = connection.principal, connection.outbox
    return Live(
        session=connection.session,
        user=principal.name if principal is not None else None,
        key=principal.key_prefix if principal is not None else None,
        plan=principal.plan_name if principal is not None else None,
        address=connection.address,
        client=connection.agent,
        node=node,
        opened_at=connection.opened_us,
        topics=len(connection.cohort.paces) if connection.cohort is not None else 0,
        sent=connection.sent,
        bytes=connection.sent_bytes,
        queued=len(outbox) if outbox is not None else 0,
        lag_ms=round((now - connection.slow_since) * 1000) if connection.slow_since is not None else 0,
        conflated=connection.conflated,
        gaps=connection.gaps,
        slow=connection.slow_since is not None,
    )


def topics(hub: Hub, limit: int, by: By, rates: Mapping[str, float]) -> Topics:
    """The topics with most of it here; who sees them later counts as a follower.

    Args:
        hub: whose topics.
        limit: how many at most.
        by: what of it.
        rates: updates a second.
    """
    rows = [
        _following(entry, count, rates.get(entry.name, 0.0)) for entry in hub.entries.values() if (count := _followers(entry))
    ]
    return Topics(ranked(rows, by)[:limit])


def _following(entry: Entry, count: int, rate: float) -> Following:
    return Following(entry.name, count, 1, entry.epoch or None, entry.seq, round(rate, 3), round(rate * count * len(entry.body)))


def _followers(entry: Entry) -> int:
    here = sum(len(cohort) for pace in entry.paces.values() for cohort in pace.cohorts)
    return here + sum(_followers(line.entry) for line in entry.lines)
