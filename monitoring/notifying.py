"""Sends one message to one Apprise address, and says what went wrong without the address, which is a secret.

Apprise answers yes or no; why not, it says to its log. That log goes nowhere else: its lines name addresses.
"""

from __future__ import annotations

import logging
import re
import threading
from typing import Any
from urllib.parse import unquote, unquote_plus

MOST_ERROR = 300  # characters
MASK = "…"
_KINDS = {"firing": "failure", "escalated": "failure", "resolved": "success", "test": "info"}


class _Complaints(logging.Handler):
    """Takes down what Apprise complains of, by thread: a message is sent in one."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line down, if somebody in this thread wants to know."""
        if (lines := getattr(self._lines, "taken", None)) is not None:
            lines.append(record.getMessage())

    def begin(self) -> list[str]:
        """What is complained of in this thread from now on."""
        lines: list[str] = []
        self._lines.taken = lines
        return lines

    def end(self) -> None:
        """Nobody in this thread wants to know any more."""
        self._lines.taken = None


_complaints = _Complaints()


def _apprise() -> Any:
    """The library, whose log ends here."""
    import apprise

    log = logging.getLogger("apprise")
    if _complaints not in log.handlers:
        log.addHandler(_complaints)
        log.propagate = False
        for talkative in ("apprise", "urllib3"):  # what they say beyond warnings names addresses
            logging.getLogger(talkative).setLevel(logging.WARNING)
    return apprise


def is_address(url: str) -> bool:
    """Whether messages can be sent to it."""
    return _target(url) is not None


def _target(url: str) -> Any:
    try:
        return _apprise().Apprise.instantiate(url, suppress_exceptions=True)
    except TypeError:  # what it raises of some that it cannot parse
        return None


def send(url: str, event: str, title: str, body: str) -> str:
    """Send a message. It may take as long as the other side likes; see `deliveries`, which does not wait for ever.

    Args:
        url: Apprise's address.
        event: firing, escalated, resolved or test.
        title, body: text.

    Returns:
        What went wrong, without any part of the address; empty: nothing.
    """
    target = _target(url)
    if target is None:
        return "Apprise knows no such address"
    lines = _complaints.begin()
    try:
        is_sent = target.notify(body=body, title=title, notify_type=_KINDS[event], body_format="text")
    except Exception as error:  # whatever a plugin does, the others go on
        return redacted(f"{type(error).__name__}: {error}", url)
    finally:
        _complaints.end()
    return "" if is_sent else redacted("; ".join(lines) or "it was not taken", url)


def redacted(text: str, url: str) -> str:
    """A text without the parts of an address: what is behind its kind, and each piece of that."""
    rest = url.partition("://")[2]
    pieces = {rest, *re.split(r"[/:@?&=#,]", rest)}
    for piece in sorted(pieces | {plain(piece) for piece in pieces for plain in (unquote, unquote_plus)}, key=len, reverse=True):
        if len(piece) >= 4:
            text = re.sub(re.escape(piece), MASK, text, flags=re.IGNORECASE)
    return text[:MOST_ERROR]
