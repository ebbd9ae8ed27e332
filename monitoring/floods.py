"""Floods of lines that are alike: the first few of each kind pass, the others are counted, and the count is told.

Rules of this file:
1. Nothing is lost in silence: what did not pass is in a `Rest`, soon after its window ended, or at the end of the process.
2. Memory is bounded: of at most `kinds` kinds is anything remembered; the oldest makes room, and its count is told early. While
   nobody asks for counts, as many wait, and the others are added up under `OTHERS`.
3. Any thread may ask; nobody waits for more than another one's question.
"""

from __future__ import annotations

import os
import re
import threading
import weakref
from collections.abc import Hashable
from typing import NamedTuple

_VARYING = re.compile(r"0x[0-9a-fA-F]+|\d+")
_LONGEST = 200  # characters of a template that tell kinds apart
OTHERS = None  # the kind of all for which there was no room while nobody asked


class Rest(NamedTuple):
    """What did not pass of one kind.

    Attributes:
        kind: as given to `admit`.
        lines: how many.
        over_s: how long ago the window began.
    """

    kind: Hashable
    lines: int
    over_s: float


class _Window:
    __slots__ = ("began", "seen")

    def __init__(self, began: float) -> None:
        self.began = began
        self.seen = 0


def template(text: str) -> str:
    """What lines that were made without a template, and differ by a number, have in common."""
    return _VARYING.sub("#", text[:_LONGEST])


class Floods:
    """Lets the first lines of each kind pass in each window of time.

    Args:
        most: lines of one kind that pass in a window; 0: all do.
        window_s: length of a window, which begins with its first line.
        kinds: most kinds at once.
    """

    def __init__(self, most: int, window_s: float = 10.0, kinds: int = 500) -> None:
        self.most = most
        self.window_s = window_s
        self._kinds = kinds
        self._forget()
        again = weakref.WeakMethod(self._forget)
        os.register_at_fork(after_in_child=lambda: (forget := again()) and forget())

    def _forget(self) -> None:
        """Also in a forked child: what its parent counted is the parent's to tell, and the lock may be another thread's."""
        self._windows: dict[Hashable, _Window] = {}  # oldest first
        self._told: dict[Hashable, Rest] = {}
        self._lock = threading.RLock()  # a signal's handler may log, too

    @property
    def pending(self) -> bool:
        """Whether anything may have to be told later."""
        return bool(self._windows or self._told)

    def admit(self, kind: Hashable, now: float) -> bool:
        """Whether a line passes. `now` is of a clock that does not go back, seconds."""
        if not self.most:
            return True
        with self._lock:
            window = self._windows.get(kind)
            if window is None or now - window.began >= self.window_s:
                window = self._begin(kind, now)
            window.seen += 1
            return window.seen <= self.most

    def _begin(self, kind: Hashable, now: float) -> _Window:
        self._end(kind, now)
        if len(self._windows) >= self._kinds:
            self._end(next(iter(self._windows)), now)
        window = self._windows[kind] = _Window(now)
        return window

    def _end(self, kind: Hashable, now: float) -> None:
        window = self._windows.pop(kind, None)
        if window is not None and window.seen > self.most:
            kind = kind if len(self._told) < self._kinds else OTHERS
            before = self._told.get(kind, Rest(kind, 0, 0.0))
            self._told[kind] = Rest(kind, before.lines + window.seen - self.most, max(before.over_s, now - window.began))

    def over(self, now: float, *, at_once: bool = False) -> list[Rest]:
        """What did not pass in windows that have ended, each told once; `at_once`: in all of them."""
        with self._lock:
            for kind, window in list(self._windows.items()):
                if not at_once and now - window.began < self.window_s:
                    break  # all further ones are younger
                self._end(kind, now)
            told, self._told = self._told, {}
        return list(told.values())
