"""The pages at `/` and `/chart/`, and REST about whoever asks."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import AllowAny
from rest_framework.request import Request

from marketdata.endpoint import Endpoint
from marketdata.instruments import instruments
from realtime.auth import grant_page_pass, issue_ticket
from realtime.limits import CACHED_S
from realtime.node import VERSION
from realtime.principal import Principal
from realtime.protocol import MAX_MESSAGE_BYTES
from realtime.serializers import IssuedTicket, Me, MeLimits, OwnLimits
from realtime.tickets import LIFE_S

SHOWN = ("symbol", "name", "kind", "venue", "currency", "price_decimals", "size_decimals", "simulated", "session")
ME = {
    "user": "ada", "key": "k3f9xa7q", "plan": "pro", "can_publish": False, "is_staff": False,
    "limits": {
        "topics": 2000, "connections": 10, "max_rate": None, "commands_per_second": 50, "command_burst": 200,
        "data_types": ["quote", "ticker", "trade", "kline", "depth"], "priority": 20,
        "requests_per_second": 100, "request_burst": 400, "takes_over": False, "symbols": [], "delay_seconds": 0,
        "max_session_hours": None, "bytes_per_second": None, "dry_run": [],
    },
}  # fmt: skip
LIMITS = {"plan": ME["plan"], "limits": {**cast(dict[str, Any], ME["limits"]), "max_message_bytes": MAX_MESSAGE_BYTES}}


@require_safe
@never_cache
def dashboard(request: HttpRequest) -> HttpResponse:
    """The built-in page; its visitor gets the page pass."""
    known = instruments()
    known.refresh_if_older(CACHED_S)
    shown = [{name: getattr(instrument, name) for name in SHOWN} for instrument in known.all()]
    return _page(request, "dashboard.html", {"instruments": shown})


@require_safe
@never_cache
def chart(request: HttpRequest) -> HttpResponse:
    """The chart that asks UDF; its visitor gets the page pass."""
    return _page(request, "chart.html", {})


def _page(request: HttpRequest, template: str, shown: dict[str, Any]) -> HttpResponse:
    response = render(request, template, shown | {"version": VERSION})
    if settings.TICKWIRE.serving.dashboard_plan:
        grant_page_pass(request, response)
    return response


class MeView(Endpoint):
    """Who asks, as the server sees it."""

    permission_classes = [AllowAny]

    @extend_schema(
        operation_id="me",
        summary="Who you are and what your plan allows",
        responses=OpenApiResponse(Me, "who you are"),
        examples=[OpenApiExample("answer", ME)],
    )
    def get(self, request: Request) -> HttpResponse:
        """User, key, plan and limits."""
        principal = _caller(request)
        me = Me(
            principal.name,
            principal.key_prefix,
            principal.plan_name,
            principal.limits,
            principal.can_publish,
            principal.is_staff,
        )
        return _json(me)


class MeLimitsView(Endpoint):
    """What whoever asks may do, under the names of the socket's welcome."""

    permission_classes = [AllowAny]

    @extend_schema(
        operation_id="me_limits",
        summary="Your limits, on the socket and here",
        responses=OpenApiResponse(MeLimits, "your limits"),
        examples=[OpenApiExample("answer", LIMITS)],
    )
    def get(self, request: Request) -> HttpResponse:
        """Those of the plan; visitors have one, too."""
        principal = _caller(request)
        return _json(MeLimits(principal.plan_name, OwnLimits(**msgspec.structs.asdict(principal.limits))))


def _caller(request: Request) -> Principal:
    principal = cast(Principal | None, request.auth)
    if principal is None:
        raise NotAuthenticated
    return principal


def _json(answer: msgspec.Struct) -> HttpResponse:
    return HttpResponse(msgspec.json.encode(answer, order="deterministic"), content_type="application/json")


class TicketView(Endpoint):
    """A ticket for a socket."""

    permission_classes = [AllowAny]

    @extend_schema(
        operation_id="issue_ticket",
        summary="A one-time ticket that opens one socket as you",
        request=None,
        responses=OpenApiResponse(IssuedTicket, "good once, for half a minute"),
        examples=[OpenApiExample("answer", {"ticket": "tk_Yk3mX0…", "expires_in": LIFE_S})],
    )
    def post(self, request: Request) -> HttpResponse:
        """Show it as the subprotocol `bearer.<ticket>`, or with the command `auth`; nobody can use it a second time."""
        principal = cast(Principal | None, request.auth)
        if principal is None:
            raise NotAuthenticated
        issued = IssuedTicket(issue_ticket(principal), LIFE_S)
        return HttpResponse(msgspec.json.encode(issued), content_type="application/json", headers={"Cache-Control": "no-store"})
