"""REST of taps: look on at one connection or topic for a minute at most, with the permission `realtime.tap`; it is audited."""

from __future__ import annotations

from typing import Annotated

import msgspec
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import NotFound, ParseError
from rest_framework.request import Request

from marketdata.database import answering
from marketdata.endpoint import Endpoint, asked_in_body
from marketdata.journal import note
from marketdata.store import now_us
from marketdata.topics import parse
from realtime.auth import IsStaff
from realtime.codes import Code, CodedError
from realtime.dismissals import name_of
from realtime.operations import asked_for, check_may, in_json
from realtime.rights import TAP
from realtime.tapped import BEGINNING, About, Seen, tapped
from realtime.taps import LONGEST_S

AFTER = {"type": "string", "pattern": "^[0-9]{1,15}-[0-9]{1,15}$"}
_HOW = {
    "for_s": {"type": "number", "minimum": 1, "maximum": LONGEST_S, "default": LONGEST_S},
    "last": {"type": "integer", "minimum": 0, "maximum": 100, "default": 20, "description": "kept updates of the topic"},
}
_NAME = {
    "session": {"type": "string", "minLength": 1, "maxLength": 64},
    "topic": {"type": "string", "minLength": 1, "maxLength": 80},
}
_BODY = {  # one of the two, which no struct can say
    "oneOf": [
        {"type": "object", "properties": {name: schema, **_HOW}, "required": [name], "additionalProperties": False}
        for name, schema in _NAME.items()
    ]
}
_LOOK = {"id": "5f2c81d09a3be417", "of": "trade.BTC-USDT", "nodes": 2, "until_us": 1731672060123456}
_SEEN = {
    "id": "1731672001123-0", "at_us": 1731672001123001, "node": "web-1-4711", "what": "update",
    "message": {"epoch": "k3f9xa", "seq": 10977, "data": {"symbol": "BTC-USDT", "price": "61837.63", "size": "0.0150"}},
}  # fmt: skip
_COPIES = {"of": "trade.BTC-USDT", "open": True, "until_us": 1731672060123456, "copies": [_SEEN], "next": "1731672001123-0"}


class NewTap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to look at: a connection, by its session, or a topic. Of a topic the newest `last` kept updates come first."""

    session: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    topic: Annotated[str, msgspec.Meta(min_length=1, max_length=80)] | None = None
    for_s: Annotated[float, msgspec.Meta(ge=1, le=LONGEST_S)] = LONGEST_S
    last: Annotated[int, msgspec.Meta(ge=0, le=100)] = 20


class Look(msgspec.Struct, frozen=True):
    """A tap. `of` is the topic, or what log lines call the connection; `nodes` are the processes that look."""

    id: str
    of: str
    nodes: int
    until_us: int


class Copies(msgspec.Struct, frozen=True):
    """What was seen, the oldest first. Ask again with `after` = `next` for what comes; `open` says whether more can."""

    of: str
    open: bool
    until_us: int
    copies: list[Seen]
    next: str


class AskedAfter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From where on."""

    after: Annotated[str, msgspec.Meta(pattern=AFTER["pattern"])] = BEGINNING


class TapsView(Endpoint):
    """Taps."""

    permission_classes = [IsStaff]

    @extend_schema(
        operation_id="tap",
        summary="Look on at a connection or a topic for a minute at most",
        request={"application/json": _BODY},
        responses={201: OpenApiResponse(Look, "it has begun")},
        examples=[
            OpenApiExample("answer", _LOOK, response_only=True, status_codes=["201"]),
            OpenApiExample("request", {"topic": "trade.BTC-USDT", "for_s": 60}, request_only=True),
        ],
    )
    def post(self, request: Request) -> HttpResponse:
        """With the permission `realtime.tap`. Tokens and names of sessions are not shown. The audit log says who looked."""
        check_may(request, TAP)
        asked = _read(request)
        of = str(parse(asked.topic)) if asked.topic is not None else name_of(asked.session or "")
        about = About(of, now_us() + round(asked.for_s * 1e6))
        begun = tapped().begin(about, asked.for_s, session=asked.session, topic=asked.topic, last=asked.last)
        if begun.id is None:
            raise _nobody(asked, begun.full)
        try:
            with answering():
                note("tap", "topic" if asked.topic is not None else "connection", of, after={"for_s": asked.for_s})
        except Exception:
            tapped().end(begun.id)  # nobody looks on without a trace
            raise
        return in_json(Look(begun.id, of, begun.nodes, about.until_us), 201)


class TapView(Endpoint):
    """One tap."""

    permission_classes = [IsStaff]

    @extend_schema(
        operation_id="tapped",
        summary="What a tap saw",
        parameters=[OpenApiParameter("after", AFTER, description="`next` of the answer before")],
        responses=OpenApiResponse(Copies, "what came after that, up to 200"),
        examples=[OpenApiExample("answer", _COPIES)],
    )
    def get(self, request: Request, tap: str) -> HttpResponse:
        """With the permission `realtime.tap`. Kept for two minutes."""
        check_may(request, TAP)
        asked, about = asked_for(AskedAfter, request), _found(tap)
        copies = tapped().read(tap, asked.after)
        is_open = now_us() < about.until_us
        return in_json(Copies(about.of, is_open, about.until_us, copies, copies[-1].id if copies else asked.after))

    @extend_schema(
        operation_id="untap",
        summary="Look on no longer, and forget what was seen",
        responses={204: OpenApiResponse(description="it is over")},
    )
    def delete(self, request: Request, tap: str) -> HttpResponse:
        """With the permission `realtime.tap`."""
        check_may(request, TAP)
        _found(tap)
        tapped().end(tap)
        return HttpResponse(status=204)


def _read(request: Request) -> NewTap:
    """What the body asks for.

    Raises:
        ParseError: it names neither, or both.
    """
    asked = asked_in_body(NewTap, request)
    if (asked.session is None) == (asked.topic is None):
        raise ParseError("name a session or a topic")
    return asked


def _nobody(asked: NewTap, full: bool) -> Exception:
    if full:
        return CodedError(Code.TOO_MANY_REQUESTS, "there are too many taps just now", retry_after_ms=10_000)
    return NotFound("nobody follows this topic" if asked.topic is not None else "there is no such connection")


def _found(tap: str) -> About:
    """What a tap looks at.

    Raises:
        NotFound: there is no such tap any more.
    """
    about = tapped().about(tap)
    if about is None:
        raise NotFound("there is no such tap, or no longer")
    return about
