"""What REST answers about whoever asks."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import msgspec

from realtime.limits import Limits
from realtime.protocol import MAX_MESSAGE_BYTES


class Me(msgspec.Struct, frozen=True):
    """The one who asks: `user` is null for visitors, `key` is the prefix of the API key that was shown."""

    user: str | None
    key: str | None
    plan: str
    limits: Limits
    can_publish: bool
    is_staff: bool


class OwnLimits(Limits, frozen=True, kw_only=True):
    """Everything that bounds the one who asks."""

    max_message_bytes: int = MAX_MESSAGE_BYTES


class MeLimits(msgspec.Struct, frozen=True):
    """The plan of the one who asks, and what it allows."""

    plan: str
    limits: OwnLimits


Time = Annotated[int, msgspec.Meta(description="µs since the Unix epoch")]


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """An API key without its secret; times are µs since the Unix epoch. Null: never."""

    prefix: str
    name: str
    can_publish: bool
    is_staff: bool
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None
    revoked_at: Time | None


class Keys(msgspec.Struct, frozen=True):
    """The caller's API keys."""

    keys: list[Key]


class MadeKey(Key, frozen=True, kw_only=True):
    """An API key that was just made, and the key itself, which nobody can read again."""

    key: str

    def __repr__(self) -> str:
        return f"MadeKey(prefix={self.prefix!r})"


class NewKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a key shall be called, until when it lives, and what it may do."""

    name: Annotated[str, msgspec.Meta(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    expires_at: Annotated[int, msgspec.Meta(gt=0, lt=253_402_300_800_000_000, description="µs since the Unix epoch")] | None = (
        None
    )
    can_publish: bool = False
    is_staff: bool = False


class DayUsage(msgspec.Struct, frozen=True):
    """What was used on one day, UTC, with one API key; `key` is its prefix, null for sessions and signed tokens."""

    day: date
    key: str | None
    connections: Annotated[int, msgspec.Meta(description="opened on that day")]
    messages: Annotated[int, msgspec.Meta(description="sent on the socket: updates, replies and all others")]
    commands: Annotated[int, msgspec.Meta(description="received on the socket")]
    bytes: Annotated[int, msgspec.Meta(description="sent on the socket")]
    requests: Annotated[int, msgspec.Meta(description="to REST, but those that were too many, or with a bad credential")]


class OwnUsage(msgspec.Struct, frozen=True, rename={"first": "from"}):
    """What the caller used from one day to another, both included."""

    first: date
    to: date
    usage: list[DayUsage]


class IssuedTicket(msgspec.Struct, frozen=True):
    """A credential for one connection: `ticket` is good for `expires_in` seconds, and once."""

    ticket: str
    expires_in: int

    def __repr__(self) -> str:
        return f"IssuedTicket(expires_in={self.expires_in})"
