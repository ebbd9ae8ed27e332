"""Limits on trial: what they would have refused is counted, and goes through.

Each process counts for itself. A limit is hit from any thread, and seldom enough for a lock.
"""

from __future__ import annotations

from collections import Counter
from threading import Lock


class Trials:
    """Counts by plan and limit. Safe among threads."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = Lock()

    def note(self, plan: str, limit: str, times: int = 1) -> None:
        """A limit of that plan would have refused something."""
        with self._lock:
            self._counts[plan, limit] += times

    def counts(self) -> dict[str, int]:
        """How often each did, by `plan.limit`."""
        with self._lock:
            return {f"{plan}.{limit}": count for (plan, limit), count in self._counts.items()}

    def forget(self) -> None:
        """Count from nothing again."""
        with self._lock:
            self._counts.clear()


trials = Trials()
