"""One name for all that happens on behalf of one command or request, from the socket to the log line.

Rules of this file:
1. The name is in a context variable: what is awaited, spawned or handed to a thread through asgiref inherits it.
2. It tells nothing that could be used: of a session, whose name resumes it, only a hash is shown.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from contextvars import ContextVar

NONE = "-"  # what log lines show that belong to nobody's command
FORM = re.compile(r"[A-Za-z0-9._:-]{1,64}")

_current: ContextVar[str] = ContextVar("correlation", default=NONE)
_owner: ContextVar[tuple[str, str]] = ContextVar("owner", default=("", ""))
current = _current.get


def begin(name: str, connection: str = "", request: str = "") -> None:
    """Whatever this task does from now on is done under a name.

    Args:
        name: of a command, a request or a task.
        connection, request: the connection that the command came by, or the request that this is; else empty.
    """
    _current.set(name)
    _owner.set((connection, request))


def owner() -> tuple[str, str]:
    """The connection and the request on whose behalf this task is at work; empty where there is none."""
    return _owner.get()


class Correlations:
    """Names what one connection asks for: `5f2c81d0-0` the handshake, `5f2c81d0-1` its first command, and so on.

    Args:
        session: of the connection; it stays secret.
    """

    __slots__ = ("_count", "prefix")

    def __init__(self, session: str) -> None:
        self.prefix = hashlib.blake2s(session.encode(), digest_size=4).hexdigest()
        self._count = -1

    def begin_next(self) -> None:
        """Whatever this task does from now on belongs to the handshake, then to the next command."""
        self._count += 1
        begin(f"{self.prefix}-{self._count}", connection=self.prefix)


def named(asked: str | None) -> str:
    """The name that a request brings along, if it is one that may stand in a log; else a new one."""
    return asked if asked is not None and FORM.fullmatch(asked) else secrets.token_hex(8)


class CorrelationFilter(logging.Filter):
    """Puts the name on every record, as `correlation`, and where there is one `connection_id` or `request_id`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let everything pass."""
        connection, request = owner()
        named = {"correlation": current(), "connection_id": connection, "request_id": request}
        record.__dict__.update((field, name) for field, name in named.items() if name)
        return True
