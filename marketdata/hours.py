"""When the instruments of a feed trade: by the session calendar of those that are active."""

from __future__ import annotations

from collections.abc import Iterable

from marketdata.instruments import Instruments, is_open


class Hours:
    """The opening hours of some instruments together."""

    def __init__(self, symbols: Iterable[str], known: Instruments) -> None:
        """Take the parts.

        Args:
            symbols: of the instruments.
            known: instruments as the operator has them; somebody else keeps it fresh.
        """
        self._symbols = tuple(symbols)
        self._known = known
        self._version = -1
        self._sessions: frozenset[str] = frozenset()

    @property
    def sessions(self) -> frozenset[str]:
        """The session calendars by which they trade, as far as they are known."""
        if self._known.loaded and self._version != self._known.version:
            found = (self._known.get(symbol) for symbol in self._symbols)
            self._sessions = frozenset(instrument.session for instrument in found if instrument)
            self._version = self._known.version
        return self._sessions

    def is_open(self, now_us: int) -> bool:
        """Whether any of them trades at an instant, in µs since the Unix epoch. Of what is not known yet, nothing is expected."""
        return any(is_open(session, now_us) for session in self.sessions)
