"""A circuit breaker: while something does not answer, those who ask for it are told so at once instead of waiting each.

Rules of this file:
1. It opens when callers have waited in vain for `patience_s` in all since the last success. Failures that come at once cost
   nobody anything, and do not open it.
2. While it is open one caller every `pause_s` may try; all others are refused meanwhile. Any success closes it.
3. It knows no loop and holds no lock while the thing is asked: the same one serves threads and coroutines.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, Literal

from marketdata.outage import Outage

PATIENCE_S = 1.0
PAUSE_S = 1.0


class Breaker:
    """Stands before one thing that is asked.

    Attributes:
        state: whether it may be asked: `half_open` while somebody tries.
        opened: how often it went from closed to open.
        refused: how many callers were.
    """

    def __init__(
        self,
        what: str,
        log: logging.Logger,
        failure: type[Exception],
        refusal: Callable[[], Exception],
        *,
        patience_s: float = PATIENCE_S,
        pause_s: float = PAUSE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin closed.

        Args:
            what: what is asked, for the log.
            log: where an outage is told, once.
            failure: how its not answering is raised. Anything else that is raised says nothing about it.
            refusal: makes what is raised instead of asking.
            patience_s: how long callers may wait in vain, in all.
            pause_s: between two tries.
            clock: monotonic seconds.
        """
        self.state: Literal["closed", "open", "half_open"] = "closed"
        self.opened = self.refused = 0
        self._outage = Outage(what, log)
        self._failure, self._refusal = failure, refusal
        self._patience_s, self._pause_s = patience_s, pause_s
        self._clock = clock
        self._lock = Lock()
        self._wasted_s = 0.0
        self._try_at = 0.0

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask within this context, sync or async.

        Raises:
            Exception: what `refusal` makes: not now.
        """
        trying = self._enter()
        began = self._clock()
        try:
            yield
        except self._failure as error:
            self._failed(error, self._clock() - began, trying)
            raise
        except BaseException:
            if trying:
                self._give_up()
            raise
        self._succeeded()

    def answers(self) -> None:
        """Somebody learned by other means that it answers: whoever asks next is let in."""
        self._succeeded()

    def stats(self) -> dict[str, Any]:
        """State and counts, for statistics."""
        return {"state": self.state, "opened": self.opened, "refused": self.refused}

    def _enter(self) -> bool:
        """Let a caller in, or refuse. True: it is the one who tries."""
        with self._lock:
            if self.state == "closed":
                return False
            if self.state == "open" and self._clock() >= self._try_at:
                self.state = "half_open"
                return True
            self.refused += 1
        raise self._refusal()

    def _failed(self, error: Exception, wasted_s: float, trying: bool) -> None:
        with self._lock:
            self._wasted_s += wasted_s
            if self.state == "closed" and self._wasted_s >= self._patience_s:
                self.opened += 1
                self._outage.failed(error)
            elif not trying:
                return
            self.state, self._try_at = "open", self._clock() + self._pause_s

    def _succeeded(self) -> None:
        if self.state == "closed" and not self._wasted_s:
            return  # nearly always: without the lock
        with self._lock:
            self.state, self._wasted_s = "closed", 0.0
            self._outage.over()

    def _give_up(self) -> None:
        """Who tried went away without an answer: the next caller may try."""
        with self._lock:
            self.state = "open"
