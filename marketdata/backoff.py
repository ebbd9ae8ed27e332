"""Trying again: the one place that knows how long to wait between attempts, bounded and with jitter.

Every retry of Tickwire goes through here, so that all of them behave alike:
1. Pauses have full jitter under a doubling bound: who failed together does not come back together.
2. An outage is logged once when it begins and once when it is over, whatever happens in between (`Outage`).
3. A service that must reconnect tries for ever; where a caller waits, the attempts are bounded and the last error is raised.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import tenacity

from marketdata.outage import Outage

FIRST_S = 0.5
LONGEST_S = 30.0

Done = TypeVar("Done")


def pause_s(failures: int, first_s: float = FIRST_S, longest_s: float = LONGEST_S) -> float:
    """The pause after so many failures in a row, for attempts whose count is kept elsewhere, as in a row of the database."""
    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    state.attempt_number = failures
    return float(tenacity.wait_random_exponential(multiplier=first_s, max=longest_s)(state))


class Backoff:
    """Attempts at one thing.

    Attributes:
        outage: the failures, counted and logged.
        wait_s: the pause that the last failure asks for; 0 before the first one.
        exhausted: whether the last allowed attempt failed; never where attempts are unbounded.
    """

    def __init__(
        self,
        what: str,
        log: logging.Logger,
        *,
        first_s: float = FIRST_S,
        longest_s: float = LONGEST_S,
        attempts: int | None = None,
        healthy_s: float = 0.0,
        outage: Outage | None = None,
    ) -> None:
        """Begin without a failure.

        Args:
            what: what is tried, for the log.
            log: where an outage is told.
            first_s: longest pause after the first failure; after each further one the double.
            longest_s: no pause is longer.
            attempts: how many in a row may fail; None: any number.
            healthy_s: a success counts as recovery, after which pauses are short again, only if it lasted that long. Else
                what connects and fails at once would be tried without a pause.
            outage: where failures are counted and logged, if others fail with the same thing; None: one of its own.
        """
        self.outage = outage or Outage(what, log)
        self.wait_s = 0.0
        self.exhausted = False
        self._healthy_s = healthy_s
        self._well_since: float | None = None  # monotonic seconds
        self._wait = tenacity.wait_random_exponential(multiplier=first_s, max=longest_s)
        self._stop = tenacity.stop_never if attempts is None else tenacity.stop_after_attempt(attempts)
        self._state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
        self._state.attempt_number = 0

    def failed(self, error: BaseException | str, *, foreseen: bool = True) -> None:
        """An attempt failed; `wait_s` says how long to wait before the next. See `Outage.failed`."""
        self.outage.failed(error, foreseen=foreseen)
        if self._well_since is not None and time.monotonic() - self._well_since >= self._healthy_s:
            self._state.attempt_number = 0
        self._well_since = None
        self._state.attempt_number += 1
        self.wait_s = float(self._wait(self._state))
        self.exhausted = self._stop(self._state)

    def over(self) -> None:
        """An attempt succeeded, or what it began goes on well. May be called any number of times."""
        self.outage.over()
        self.exhausted = False
        if self._well_since is None:
            self._well_since = time.monotonic()

    async def pause(self) -> None:
        """Wait as long as the last failure asks for."""
        await asyncio.sleep(self.wait_s)

    async def until_done(self, do: Callable[[], Awaitable[Done]], *expected: type[BaseException]) -> Done:
        """Do a thing, again and again until it succeeds.

        Args:
            do: one attempt.
            expected: what it may raise; anything else goes through at once.

        Returns:
            What the attempt returned that succeeded.

        Raises:
            BaseException: one of `expected`, from the last attempt, where these are bounded.
        """
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(expected),
            after=self._after,
            stop=lambda _: self.exhausted,
            sleep=lambda _: self.pause(),
            reraise=True,
        )

        async def attempt() -> Done:  # whatever `do` is, the library awaits it
            return await do()

        done: Done = await retrying(attempt)
        self.over()
        return done

    def _after(self, attempt: tenacity.RetryCallState) -> None:
        assert attempt.outcome is not None
        self.failed(attempt.outcome.exception() or "")
