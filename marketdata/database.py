"""The database as those meet it who wait for its answer: while it does not answer, they are told so at once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django import db

from marketdata.breaker import Breaker
from marketdata.errors import DatabaseUnavailable

logger = logging.getLogger(__name__)

breaker = Breaker(
    "asking the database", logger, db.Error, lambda: DatabaseUnavailable("the database did not answer a moment ago")
)


@contextmanager
def answering() -> Iterator[None]:
    """Ask the database within this context.

    Raises:
        DatabaseUnavailable: it did not answer, or did not a moment ago.
    """
    try:
        with breaker.asking():
            yield
    except db.Error as error:
        raise DatabaseUnavailable("the database does not answer") from error
