"""Writes lines to a file descriptor in a thread of its own, so that nobody waits for whoever reads them.

Rules of this file:
1. `put` never waits: a pipe that nobody empties costs lines, not the event loop. Lines that found no room are counted.
2. What waits is bounded in bytes.
3. The end of the process waits for the thread, but not for longer than `FLUSH_S`.
4. A forked child begins with nothing of its parent's.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

MOST_BYTES = 4 << 20
FLUSH_S = 2.0
TURN_S = 1.0  # how often `news` is asked for while there may be some
AT_ONCE = 1 << 16  # bytes of one write

Write = Callable[[bytes], object]


def write_to(descriptor: int) -> Write:
    """What writes all of its argument to a descriptor, and gives up in silence where there is nobody to tell."""

    def write(text: bytes) -> None:
        rest = memoryview(text)
        with suppress(OSError):
            while rest:
                rest = rest[os.write(descriptor, rest) :]

    return write


class LineWriter:
    """A bounded queue of lines and the thread that empties it.

    Args:
        write: writes bytes; may take for ever.
        news: further lines, asked for in the thread; called with the number of lines that were dropped since it was last called.
        expects_news: whether `news` may have something soon.
        most_bytes: of lines that wait.
    """

    def __init__(
        self,
        write: Write,
        news: Callable[[int], Iterable[bytes]],
        expects_news: Callable[[], bool],
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._write = write
        self._news = news
        self._expects_news = expects_news
        self._most_bytes = most_bytes
        self._begin()
        again = weakref.WeakMethod(self._begin)
        os.register_at_fork(after_in_child=lambda: (begin := again()) and begin())

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._dropped = 0
        self._writing = False
        self._closed = self._stuck = False
        self._thread: threading.Thread | None = None

    def put(self, line: bytes) -> bool:
        """Have a line written soon. False: there was no room, the line is dropped and counted."""
        with self._changed:
            if self._closed and not self._stuck:
                self._write(line)  # the process ends: nothing else is left to be held up
                return True
            if self._closed or self._bytes + len(line) > self._most_bytes:
                self._dropped += 1
                return False
            self._lines.append(line)
            self._bytes += len(line)
            self._wake()
            return True

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._lines and not self._closed:
                    self._changed.wait(TURN_S if self._dropped or self._expects_news() else None)
                chunk = self._take()
                if not chunk and self._closed:
                    return
                dropped, self._dropped = self._dropped, 0
            if chunk:
                self._write(chunk)
            for line in self._news(dropped):
                self._write(line)
            with self._changed:
                self._writing = False
                self._changed.notify_all()

    def _take(self) -> bytes:
        lines: list[bytes] = []
        size = 0
        while self._lines and size < AT_ONCE:
            lines.append(self._lines.popleft())
            size += len(lines[-1])
        self._bytes -= size
        self._writing = True
        return b"".join(lines)

    def flush(self, wait_s: float = FLUSH_S) -> bool:
        """Wait until all lines are written. False: they were not, in that time."""
        with self._changed:
            if self._thread is None or not self._thread.is_alive():
                return True
            done = self._changed.wait_for(lambda: not self._lines and not self._writing, wait_s)
            self._stuck = not done
            return done

    def close(self) -> None:
        """Write what waits, as far as that is possible, and end the thread. Whoever puts a line later writes it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(0 if self._stuck else FLUSH_S)
            self._stuck = self._thread.is_alive()
