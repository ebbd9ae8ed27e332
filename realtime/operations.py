"""REST about the running installation: who is connected, what is followed, which processes serve; ending and draining.

Rules of this file:
1. Every answer is gathered from all serving processes. One that does not answer in time is counted as `silent`.
2. Reading is for staff; ending and draining also need a permission of the admin's.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar, cast, get_args

import msgspec
from django.contrib.auth.models import User
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import NotFound, ParseError, PermissionDenied
from rest_framework.request import Request

from marketdata.database import answering
from marketdata.endpoint import Endpoint
from realtime.auth import IsStaff
from realtime.census import MOST_ROWS, By, Following, Live, Wanted
from realtime.dismissals import disconnect, drain, find
from realtime.orders import orders
from realtime.own_keys import IsUser
from realtime.principal import Principal
from realtime.rights import DISCONNECT, DRAIN

T = TypeVar("T")
TRUTHS = ("slow", "asked")  # parameters that are true or false
LIVE = {
    "session": "8mJ2kq…", "user": "ada", "key": "k3f9xa7q", "plan": "pro", "address": "203.0.113.9",
    "client": "python-websockets", "node": "web-1-4711", "opened_at": 1731672000123456, "topics": 12, "sent": 48211,
    "bytes": 7123456, "queued": 0, "lag_ms": 0, "conflated": 3, "gaps": 0, "slow": False,
}  # fmt: skip
FOLLOWING = {
    "topic": "trade.BTC-USDT", "subscribers": 211, "nodes": 2, "epoch": "k3f9xa", "seq": 10977, "rate": 20.4, "bytes": 620000,
}  # fmt: skip


class Connections(msgspec.Struct, frozen=True):
    """Live connections, the newest first. `total` counts those that are not shown, too."""

    connections: list[Live]
    total: int
    silent: Annotated[int, msgspec.Meta(description="processes that did not answer in time")]


class Followed(msgspec.Struct, frozen=True):
    """Topics, those with most of what was asked for first."""

    topics: list[Following]


class Draining(msgspec.Struct, frozen=True):
    """A process that takes no more connections."""

    node: str
    draining: bool


class Asked(Wanted, frozen=True, forbid_unknown_fields=True):
    """Which connections: see `census.Wanted`."""


class AskedTopics(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many topics, and which."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_ROWS)] = MOST_ROWS
    by: By = "subscribers"


LIMIT = OpenApiParameter("limit", {"type": "integer", "minimum": 1, "maximum": MOST_ROWS}, description="rows at most")
BY = OpenApiParameter("by", str, enum=get_args(By), description="what those at the top have most of")
FILTERS = [
    *(
        OpenApiParameter(name, str, description=text)
        for name, text in {
            "user": "of that name", "plan": "on that plan", "node": "of that process", "session": "of that name",
            "address": "from that address, or network like `10.0.0.0/8`", "search": "part of any of these",
        }.items()
    ),
    OpenApiParameter("slow", bool, description="whether it keeps up"),
    LIMIT,
]  # fmt: skip


def asked_for(kind: type[Any], request: Request) -> Any:
    """The query as a struct.

    Raises:
        ParseError: it is none.
    """
    query = request.query_params.dict()
    for name, value in query.items():
        if value.casefold() == "null" and name in TRUTHS:  # to msgspec that is None, which would be all
            raise ParseError(f"Expected `bool`, got `null` - at `$.{name}`")
    try:
        return msgspec.convert(query, kind, strict=False)
    except msgspec.ValidationError as failure:
        raise ParseError(str(failure)) from None


def in_json(answer: msgspec.Struct, status: int = 200) -> HttpResponse:
    """An answer that no cache keeps."""
    headers = {"Cache-Control": "private, no-store"}
    return HttpResponse(msgspec.json.encode(answer), content_type="application/json", status=status, headers=headers)


def _found(wanted: Wanted) -> HttpResponse:
    return in_json(Connections(*orders().connections(**msgspec.structs.asdict(wanted))))


class OwnConnectionsView(Endpoint):
    """The caller's connections."""

    permission_classes = [IsUser]

    @extend_schema(
        operation_id="me_connections",
        summary="Your live connections, on all nodes",
        responses=OpenApiResponse(Connections, "those of all your credentials"),
        examples=[OpenApiExample("answer", {"connections": [LIVE], "total": 1, "silent": 0})],
    )
    def get(self, request: Request) -> HttpResponse:
        """Whatever credential they were opened with."""
        return _found(Wanted(user_id=cast(Principal, request.auth).user_id))


class ConnectionsView(Endpoint):
    """Everybody's connections."""

    permission_classes = [IsStaff]

    @extend_schema(
        operation_id="connections",
        summary="Live connections on all nodes",
        parameters=FILTERS,
        responses=OpenApiResponse(Connections, "those that fit"),
        examples=[OpenApiExample("answer", {"connections": [LIVE], "total": 1, "silent": 0})],
    )
    def get(self, request: Request) -> HttpResponse:
        """Those that fit all filters."""
        return _found(asked_for(Asked, request))


class ConnectionView(Endpoint):
    """One connection."""

    permission_classes = [IsStaff]

    @extend_schema(
        operation_id="disconnect",
        summary="End a connection, wherever it is, with close code 4503",
        responses={204: OpenApiResponse(description="it is closed")},
    )
    def delete(self, request: Request, session: str) -> HttpResponse:
        """With the permission `realtime.disconnect`."""
        check_may(request, DISCONNECT)
        live = find(session)
        if live is None or not disconnect(live):
            raise NotFound("there is no such connection")
        return HttpResponse(status=204)


class TopicsView(Endpoint):
    """What is followed."""

    permission_classes = [IsStaff]

    @extend_schema(
        operation_id="followed_topics",
        summary="The topics with most subscribers, updates or bytes a second, over all nodes",
        parameters=[LIMIT, BY],
        responses=OpenApiResponse(Followed, "those with most of it"),
        examples=[OpenApiExample("answer", {"topics": [FOLLOWING]})],
    )
    def get(self, request: Request) -> HttpResponse:
        """Up to `limit` of them. Rates are of the last seconds; the first who asks for a while waits for half a second."""
        asked = asked_for(AskedTopics, request)
        return in_json(Followed(orders().topics(asked.limit, asked.by)))


class DrainView(Endpoint):
    """The end of a serving process."""

    permission_classes = [IsStaff]

    @extend_schema(
        operation_id="drain",
        summary="Have a serving process take no more connections, and close those that it has over its drain time",
        request=None,
        responses={202: OpenApiResponse(Draining, "it has begun")},
        examples=[OpenApiExample("answer", {"node": "web-1-4711", "draining": True})],
    )
    def post(self, request: Request, node: str) -> HttpResponse:
        """With the permission `realtime.drain`. It goes on until the process is started anew."""
        check_may(request, DRAIN)
        if not drain(node):
            raise NotFound("there is no such process")
        return in_json(Draining(node, True), 202)


def check_may(request: Request, permission: str) -> None:
    """Refuse staff without a permission.

    Raises:
        PermissionDenied: it has not got it.
    """
    with answering():
        user = User.objects.get(pk=cast(int, cast(Principal, request.auth).user_id))  # `IsStaff` saw to it that there is one
        if not user.has_perm(permission):
            raise PermissionDenied(f"this needs the permission {permission!r}")
