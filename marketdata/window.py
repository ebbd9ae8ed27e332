"""Which ids a topic has had lately, so that what a feed sends again is published once.

The window is kept in Redis, decided in the same step as the publish (`publish.lua`), and so holds for all writers and over their
restarts. Of each id eight bytes are kept: that a new id has those of one of 10,000 others happens once in 10^15 times.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from marketdata.errors import Repeated

if TYPE_CHECKING:
    from marketdata.batch import Update

DIGEST_BYTES = 8


def digest(name: str) -> bytes:
    """What is kept of an id."""
    return hashlib.blake2b(name.encode(), digest_size=DIGEST_BYTES).digest()


def digests(updates: Sequence[Update]) -> dict[str, dict[bytes, int]]:
    """Topic → digest of an id → place in the batch, of the updates that have one.

    Raises:
        Repeated: two of the updates have the same topic and id.
    """
    found: dict[str, dict[bytes, int]] = {}
    repeated = [
        at
        for at, update in enumerate(updates)
        if update.id and found.setdefault(update.topic, {}).setdefault(digest(update.id), at) != at
    ]
    if repeated:
        raise Repeated(repeated)
    return found


def holds(window: bytes, name: str) -> bool:
    """Whether an id is in a window, as Redis keeps it."""
    wanted, at = digest(name), -1
    while (at := window.find(wanted, at + 1)) != -1:
        if at % DIGEST_BYTES == 0:
            return True
    return False


class Window:
    """The newest ids of one topic, in memory: what `publish.lua` keeps in a string.

    It holds at least the newest `most` and a quarter more at most: it is cut when that is reached, not at every id.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._ids: dict[bytes, None] = {}

    def __contains__(self, name: bytes) -> bool:
        return name in self._ids

    def add(self, names: Sequence[bytes]) -> None:
        """Remember ids, as digests."""
        self._ids.update(dict.fromkeys(names))
        if 4 * len(self._ids) >= 5 * self._most:
            self._ids = dict.fromkeys(list(self._ids)[-self._most :])
