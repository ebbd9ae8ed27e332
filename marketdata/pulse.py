"""Whether a feed that is connected has gone mute: its silence measured against its own cadence.

Rules of this file:
1. The usual pause is learnt: of the longest pause of each second or so of activity, nine in ten are shorter. A stall or two
   among the last 64 changes little; a feed that is always so slow is learnt to be.
2. Only time that was watched and in which the market was open counts as silence: neither a closed market nor a process that
   slept makes a feed mute.
"""

from __future__ import annotations

from collections import deque

TIMES = 5  # so many usual pauses long must a silence be
LEAST_S = 5.0  # no silence shorter than that is an alarm
MOST_S = 900.0  # any silence longer than that is one
FIRST_S = 30.0  # before anything is learnt, and before the first word of a connection
SAMPLE_S = 1.0
LEARNT = 8  # pauses that must be known
_KEPT = 64
_LONGEST_STEP_S = 2.0  # the watch runs each second; a longer step is our own sleep, not the feed's


class Pulse:
    """The cadence of one feed, over all its connections. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.silence_s = 0.0
        self._pauses: deque[float] = deque(maxlen=_KEPT)
        self._longest_s = 0.0
        self._sampled_s = 0.0
        self._beat_s: float | None = None
        self._watched_s: float | None = None
        self._spoke = False

    def connected(self) -> None:
        """A new connection begins; it has time to speak."""
        self.silence_s = 0.0
        self._spoke = False

    def beat(self, now_s: float) -> None:
        """The feed spoke."""
        if self._beat_s is not None:
            self._longest_s = max(self._longest_s, now_s - self._beat_s)
            if now_s - self._sampled_s >= SAMPLE_S:
                self._pauses.append(self._longest_s)
                self._longest_s, self._sampled_s = 0.0, now_s
        self._beat_s = now_s
        self._spoke = True
        self.silence_s = 0.0

    def watch(self, now_s: float, *, is_open: bool) -> None:
        """Look at the clock, about once a second.

        Args:
            now_s: the time.
            is_open: whether any of the feed's instruments trades.
        """
        step_s = 0.0 if self._watched_s is None else min(now_s - self._watched_s, _LONGEST_STEP_S)
        self._watched_s = now_s
        if is_open:
            self.silence_s += step_s
        else:  # the pause until it opens again says nothing of the feed
            self.silence_s, self._beat_s, self._longest_s = 0.0, None, 0.0

    @property
    def usual_s(self) -> float | None:
        """The usual pause; None until it is learnt."""
        return sorted(self._pauses)[len(self._pauses) * 9 // 10] if len(self._pauses) >= LEARNT else None

    @property
    def allowance_s(self) -> float:
        """How long the feed may be silent now."""
        usual_s = self.usual_s
        if usual_s is None:
            return FIRST_S
        allowance_s = min(max(TIMES * usual_s, LEAST_S), MOST_S)
        return allowance_s if self._spoke else max(allowance_s, FIRST_S)

    @property
    def is_mute(self) -> bool:
        """Whether it has been silent for too long."""
        return self.silence_s > self.allowance_s
