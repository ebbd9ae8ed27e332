"""Which updates are followed from hop to hop, and who is told: nobody, unless tracing is switched on.

Rules of this file:
1. The bus carries nothing for it. An update's trace is named after its topic and stamp: every process finds the same name.
2. Whether an update is followed comes of that name alone: all processes follow the same ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from marketdata.batch import Update

_LOW = (1 << 64) - 1


class Followed(NamedTuple):
    """One update that is followed.

    Attributes:
        trace: 128 bits that name it.
    """

    topic: str
    epoch: str
    seq: int
    trace: int


class Choice:
    """Says which updates are followed.

    Args:
        ratio: their share of all, 0 to 1.
    """

    def __init__(self, ratio: float) -> None:
        self._below = round(ratio * (_LOW + 1))

    def __call__(self, topic: str, epoch: str, seq: int) -> Followed | None:
        """The update with its name, or None: it is not followed."""
        name = hashlib.blake2b(f"{topic} {epoch} {seq}".encode(), digest_size=16).digest()
        trace = int.from_bytes(name) or 1  # zero is no name in OpenTelemetry
        return Followed(topic, epoch, seq, trace) if trace & _LOW < self._below else None


class Follower(Protocol):
    """Who is told."""

    choice: Choice

    def published(self, updates: Sequence[Update], epoch: str, seqs: Sequence[int], begun_us: int, asked_us: int) -> None:
        """A batch was stored and published just now.

        Args:
            updates, epoch, seqs: what, in order.
            begun_us: when the batch was handed to the store, wall clock.
            asked_us: when Redis was asked.
        """

    def delivered(self, update: Followed, begun_us: int, ended_us: int, receivers: int) -> None:
        """A flush has written an update to sockets.

        Args:
            begun_us, ended_us: the flush, wall clock.
            receivers: how many sockets.
        """


_follower: Follower | None = None


def follow(follower: Follower | None) -> None:
    """Have somebody told from now on, or nobody."""
    global _follower  # noqa: PLW0603, RUF100 -- one a process
    _follower = follower


def follower() -> Follower | None:
    """Who is told."""
    return _follower
