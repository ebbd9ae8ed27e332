"""Whether what a feed sends is rubbish: how much of it was refused lately."""

from __future__ import annotations

from collections import deque

WINDOW_S = 10.0
LEAST = 20  # so few say nothing; a slow feed is judged by its last so many
SHARE = 0.9  # refused, at which it is garbage
GOOD_SHARE = 0.5  # good, at which it no longer is; the distance keeps the verdict from trembling


class Refusals:
    """Good and refused ticks of one feed over a sliding window.

    Attributes:
        good, refused: how many are in the window.
        is_garbage: whether nearly everything was refused.
    """

    def __init__(self) -> None:
        self.is_garbage = False
        self.good = self.refused = 0
        self._seconds: deque[list[int]] = deque()  # [second, good, refused]

    def count(self, now_s: float, good: int, refused: int) -> None:
        """Add ticks, in monotonic seconds."""
        if not self._seconds or self._seconds[-1][0] != int(now_s):
            self._seconds.append([int(now_s), 0, 0])
        self._seconds[-1][1] += good
        self._seconds[-1][2] += refused
        self.good += good
        self.refused += refused
        self._forget(now_s)
        self._judge(self.good + self.refused)

    def _forget(self, now_s: float) -> None:
        while self._seconds and self._seconds[0][0] <= now_s - WINDOW_S:
            _, good, refused = self._seconds[0]
            if self.good + self.refused - good - refused < LEAST:
                break
            self._seconds.popleft()
            self.good -= good
            self.refused -= refused

    def _judge(self, every: int) -> None:
        if every >= LEAST and self.refused >= SHARE * every:
            self.is_garbage = True
        elif self.good >= GOOD_SHARE * every:
            self.is_garbage = False
