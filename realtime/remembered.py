"""Answers of the database that are believed for a while, so that a reconnect storm costs few queries.

A process that is told of every change believes them for long, and forgets at once what changed. Others believe them for a moment.
"""

from __future__ import annotations

import time
from collections.abc import Hashable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class Remembered(Generic[Answer]):
    """Answers by key, each for a while. Safe among threads; everybody gets the very same object.

    Args:
        for_s: how long an answer is believed.
        most: how many are kept; one more, and all are forgotten.
        told_s: how long it is believed while this process is told of changes; None: no longer than otherwise.

    Attributes:
        told: whether it is.
        forgotten: how often all were forgotten.
    """

    def __init__(self, for_s: float, most: int = 1000, told_s: float | None = None) -> None:
        self.for_s = for_s
        self.most = most
        self.told_s = for_s if told_s is None else told_s
        self.told = False
        self.forgotten = 0
        self._answers: dict[Hashable, tuple[float, int, Answer]] = {}  # when it was given; `forgotten` when it was asked for

    def get(self, key: Hashable) -> Answer | None:
        """The answer, if it was given a short while ago."""
        given, asked, answer = self._answers.get(key, (float("-inf"), 0, None))
        return answer if asked == self.forgotten and given > self._since() else None

    def _since(self) -> float:
        """Since when an answer that is believed was given."""
        return time.monotonic() - (self.told_s if self.told else self.for_s)

    def believed(self) -> list[Answer]:
        """All answers that are believed just now."""
        since, forgotten = self._since(), self.forgotten
        return [answer for given, asked, answer in list(self._answers.values()) if asked == forgotten and given > since]

    def last(self, key: Hashable) -> Answer | None:
        """The last answer, however long ago it was given."""
        return self._answers.get(key, (0.0, 0, None))[2]

    def set(self, key: Hashable, answer: Answer, asked: int | None = None) -> None:
        """Keep an answer.

        Args:
            key: what was asked.
            answer: what was said.
            asked: what `forgotten` was when that was asked; an answer from before that has changed is not believed. None: it is.
        """
        if len(self._answers) >= self.most:
            self._answers.clear()
        self._answers[key] = (time.monotonic(), self.forgotten if asked is None else asked, answer)

    def clear(self) -> None:
        """Ask again from now on; what is being asked just now as well."""
        self.forgotten += 1
        self._answers.clear()
