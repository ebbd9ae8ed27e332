"""How many queries this process has sent to its database."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created


class Queries:
    """Counts on every connection that is opened from now on, in whichever thread.

    Attributes:
        sent: queries so far.
    """

    def __init__(self) -> None:
        self.sent = 0
        self._numbers = itertools.count(1)  # whose next is one step for the interpreter, unlike an addition
        connection_created.connect(self._opened)

    def _opened(self, connection: BaseDatabaseWrapper, **_: Any) -> None:
        if self._count not in connection.execute_wrappers:
            connection.execute_wrappers.append(self._count)

    def _count(self, execute: Callable[..., Any], *query: Any) -> Any:
        self.sent = next(self._numbers)
        return execute(*query)


queries = Queries()
