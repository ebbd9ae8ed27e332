"""Something that fails for a while: every failure counted, the outage logged once when it begins and once when it ends."""

from __future__ import annotations

import logging


class Outage:
    """Failures of one thing.

    Attributes:
        failures: since the process began.
        ongoing: whether the last try failed.
    """

    def __init__(self, what: str, log: logging.Logger) -> None:
        self.failures = 0
        self.ongoing = False
        self._what = what
        self._log = log
        self._begun = 0

    def failed(self, error: BaseException | str, *, foreseen: bool = True) -> None:
        """A try failed. One that nobody foresaw is logged with its traceback."""
        if not self.ongoing:
            self._begun = self.failures
            reason = str(error) or type(error).__name__
            self._log.warning("%s: %s", self._what, reason, exc_info=None if foreseen or isinstance(error, str) else error)
        self.ongoing = True
        self.failures += 1

    def over(self) -> None:
        """A try succeeded."""
        if self.ongoing:
            self._log.info("%s: works again after %d failures", self._what, self.failures - self._begun)
        self.ongoing = False
