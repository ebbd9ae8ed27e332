"""How far a process goes under overload, from measurements and a clock.

Rules of this file:
1. One step at a time, either way. Up after the load was over a bound without a break for as long as the step asks for, down after
   it was well below every bound for a while; in between, everything stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

CALM_S = 5.0
CALM_LAG, CALM_MEMORY = 0.5, 0.9  # shares of the bounds; memory returns to the system late, if at all


class Step(IntEnum):
    """How far a process has gone; each step includes those before it."""

    NORMAL = 0
    REFUSE = 1
    SLOW = 2
    SHED = 3


PATIENCE_S = {Step.REFUSE: 2.0, Step.SLOW: 3.0, Step.SHED: 10.0}  # over a bound for so long, seen from the step before


@dataclass
class Ladder:
    """From measurements to steps.

    Args:
        most_lag_us: how late the event loop may be; 0: any time.
        most_memory_bytes: what the process may occupy; 0: anything.

    Attributes:
        step: where it stands.
    """

    most_lag_us: float
    most_memory_bytes: int
    step: Step = Step.NORMAL
    _over_since: float | None = None
    _calm_since: float | None = None

    def look(self, now: float, lag_us: float, memory_bytes: int) -> Step:
        """Take a measurement.

        Args:
            now: any clock, seconds.
            lag_us: how late the event loop is.
            memory_bytes: what the process occupies.

        Returns:
            The step that is right from now on: the last one, or one beside it.
        """
        over = 0 < self.most_lag_us < lag_us or 0 < self.most_memory_bytes < memory_bytes
        calm = _below(lag_us, CALM_LAG * self.most_lag_us) and _below(memory_bytes, CALM_MEMORY * self.most_memory_bytes)
        self._over_since = _since(self._over_since, now, over)
        self._calm_since = _since(self._calm_since, now, calm)
        if self._over_since is not None and self.step < Step.SHED:
            if now - self._over_since >= PATIENCE_S[Step(self.step + 1)]:
                self.step, self._over_since = Step(self.step + 1), now
        elif self._calm_since is not None and self.step > Step.NORMAL and now - self._calm_since >= CALM_S:
            self.step, self._calm_since = Step(self.step - 1), now
        return self.step


def _below(value: float, bound: float) -> bool:
    return not bound or value < bound


def _since(before: float | None, now: float, holds: bool) -> float | None:
    """Since when something holds that did or did not hold before."""
    if not holds:
        return None
    return now if before is None else before
