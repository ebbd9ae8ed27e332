"""The page at `/`, and REST about whoever asks."""

from __future__ import annotations

from typing import cast

import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

from marketdata.instruments import instruments
from realtime.auth import Principal, grant_page_pass
from realtime.limits import CACHED_S
from realtime.node import VERSION
from realtime.serializers import Me

SHOWN = ("symbol", "name", "kind", "venue", "currency", "price_decimals", "size_decimals", "simulated", "session")
ME = {
    "user": "ada", "key": "k3f9xa7q", "plan": "pro", "can_publish": False, "is_staff": False,
    "limits": {
        "topics": 2000, "connections": 10, "max_rate": None, "commands_per_second": 50, "command_burst": 200,
        "data_types": ["quote", "ticker", "trade", "kline", "depth"], "priority": 20,
    },
}  # fmt: skip


@never_cache
def dashboard(request: HttpRequest) -> HttpResponse:
    """The built-in page; its visitor gets the page pass."""
    known = instruments()
    known.refresh_if_older(CACHED_S)
    shown = [{name: getattr(instrument, name) for name in SHOWN} for instrument in known.all()]
    response = render(request, "dashboard.html", {"instruments": shown, "version": VERSION})
    if settings.TICKWIRE.serving.dashboard_plan:
        grant_page_pass(request, response)
    return response


class MeView(APIView):
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
        principal = cast(Principal | None, request.auth)
        if principal is None:
            raise NotAuthenticated
        me = Me(
            principal.name,
            principal.key_prefix,
            principal.plan_name,
            principal.limits,
            principal.can_publish,
            principal.is_staff,
        )
        return HttpResponse(msgspec.json.encode(me, order="deterministic"), content_type="application/json")
