"""Which API keys exist, known without asking the database for each: a guess is told from a key by it.

It says only that a key is worth looking up. It says so, too, of one that expired, was revoked since, or whose user is disabled.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

from marketdata.database import answering
from realtime.keys import digest
from realtime.models import ApiKey

FRESH_S = 2.0
MOST_KEYS = 100_000  # some 8 MiB; where there are more, everything is worth looking up
OVERLAP = 1000  # ids that are read again: one that was given out earlier may be committed later


class KeyIndex:
    """The hashes of all keys that were not revoked, shortened. Safe among threads.

    Args:
        most: keys that are held at most.
        clock: monotonic seconds.
    """

    def __init__(self, most: int = MOST_KEYS, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self._clock = clock
        self._lock = Lock()
        self.forget()

    def forget(self) -> None:
        """Read all again from now on."""
        self._known: set[int] = set()
        self._last = 0
        self._fresh_until = 0.0

    def knows(self, secret: str) -> bool | None:
        """Whether a key has that secret; None: a new one might, ask the database first."""
        if _short(digest(secret)) in self._known or len(self._known) >= self.most:
            return True
        return False if self._clock() < self._fresh_until else None

    def refresh(self) -> None:
        """Read the keys that were made since, at most once in two seconds.

        Raises:
            DatabaseUnavailable: it does not answer.
        """
        with self._lock:
            if self._clock() < self._fresh_until:
                return
            made = ApiKey.objects.filter(revoked_at=None, pk__gt=self._last - OVERLAP).order_by("pk")
            with answering():
                rows = list(made.values_list("pk", "hash")[: self.most])
            self._known |= {_short(hash) for _, hash in rows}
            self._last = rows[-1][0] if rows else self._last
            self._fresh_until = self._clock() + FRESH_S


def _short(hash: str) -> int:
    return int(hash[:15], 16)
