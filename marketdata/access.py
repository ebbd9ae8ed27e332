"""What a REST reader may see, asked of the principal that the request carries.

The principal itself belongs to `realtime`, which this application does not know: what it needs of it is `Reader`.
"""

from __future__ import annotations

from threading import Lock
from typing import Any, Protocol, cast

from rest_framework.exceptions import NotAuthenticated, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from marketdata import topics
from marketdata.database import answering
from marketdata.errors import DatabaseUnavailable, NotInPlan, UnknownSymbol
from marketdata.instruments import Instrument, Instruments, instruments
from marketdata.topics import DataType, Topic

INSTRUMENTS_AGE_S = 2.0
_asking = Lock()


class Reader(Protocol):
    """Who reads or publishes."""

    @property
    def user_id(self) -> int | None:
        """None for visitors."""

    @property
    def can_publish(self) -> bool:
        """Whether ticks are taken."""

    @property
    def delay_us(self) -> int:
        """How old everything must be that the reader sees, microseconds."""

    def objection(self, kind: DataType, symbol: str | None = None) -> str | None:
        """Why the reader's plan leaves out a data type, or a symbol's; None: it does not."""


def reader_of(request: Request) -> Reader:
    """Who sent this request.

    Raises:
        NotAuthenticated: nobody that is known, and anonymous reading is not offered.
    """
    if request.auth is None:
        raise NotAuthenticated
    return cast(Reader, request.auth)


class MayRead(BasePermission):
    """Lets in whoever has a plan; where the view's address names data type and symbol, the plan must include them."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Whether the reader may come in.

        Raises:
            NotAuthenticated: there is no principal.
            NotInPlan: the plan leaves the view's data type or symbol out.
        """
        reader = reader_of(request)
        kind: DataType | None = getattr(view, "data_type", None)
        if kind is not None:
            check_plan(kind, view.kwargs.get("symbol"), reader)
        return True


class MayPublish(BasePermission):
    """Lets in API keys that may publish."""

    def has_permission(self, request: Request, view: Any) -> bool:  # noqa: ARG002
        """Whether the reader may publish.

        Raises:
            NotAuthenticated: there is no user.
            PermissionDenied: the user may not publish.
        """
        reader = reader_of(request)
        if reader.user_id is None:
            raise NotAuthenticated
        if not reader.can_publish:
            raise PermissionDenied("publishing needs an API key with the publish permission")
        return True


def check_plan(kind: DataType, symbol: str | None, reader: Reader) -> None:
    """Refuse a data type, or a symbol's, that the plan leaves out.

    Raises:
        NotInPlan: it does.
    """
    if (objection := reader.objection(kind, symbol)) is not None:
        raise NotInPlan(objection)


def known_instruments() -> Instruments:
    """The instruments, two seconds old at most; while the database does not answer, or somebody asks it already, as it last
    named them.

    Raises:
        DatabaseUnavailable: it has named none yet.
    """
    known = instruments()
    if known.is_older(INSTRUMENTS_AGE_S) and _asking.acquire(blocking=not known.loaded):
        try:
            with answering():
                known.refresh_if_older(INSTRUMENTS_AGE_S)
        except DatabaseUnavailable:
            if not known.loaded:
                raise
        finally:
            _asking.release()
    return known


def listed(symbol: str, known: Instruments | None = None) -> Instrument:
    """The active instrument of a symbol, of those that are known, or else of `known_instruments`.

    Raises:
        UnknownSymbol: there is none.
    """
    found = (known or known_instruments()).get(symbol)
    if found is None:
        raise UnknownSymbol(f"there is no instrument {symbol!r}")
    return found


def readable(text: str, reader: Reader) -> Topic:
    """The topic of that text, for a reader who may have it; see `granted`."""
    return granted(text, reader, known_instruments())[0]


def granted(text: str, reader: Reader, known: Instruments) -> tuple[Topic, Instrument]:
    """The topic of that text with its instrument, for a reader who may have it.

    Args:
        known: the instruments; nothing is asked for here.

    Raises:
        UnknownTopic, UnsupportedType: the text is no topic.
        UnknownSymbol: its symbol is not listed.
        NotInPlan: the reader's plan leaves its type or symbol out.
    """
    topic = topics.parse(text)
    instrument = listed(topic.symbol, known)
    check_plan(topic.type, topic.symbol, reader)
    return topic, instrument
