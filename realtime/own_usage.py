"""REST about what one has used oneself: by API key and day, as JSON or as a CSV file."""

from __future__ import annotations

from datetime import date
from typing import Any, cast

from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ParseError
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

from marketdata.database import answering
from marketdata.endpoint import Endpoint
from realtime.codes import Code, CodedError
from realtime.models import Usage
from realtime.operations import in_json
from realtime.own_keys import IsUser
from realtime.principal import Principal
from realtime.serializers import DayUsage, OwnUsage
from realtime.sheets import MEDIA_TYPE, download
from realtime.usage import AMOUNTS, today

USUAL_DAYS, MOST_DAYS = 30, 366
MOST_LINES = 10_000  # in one JSON answer, some 1.5 MB

_CREDENTIALS: list[Any] = [{"apiKey": []}, {"session": []}]
COLUMNS = {name: name for name in ("day", "key", *AMOUNTS)}
_AMOUNTS = {"connections": 12, "messages": 1_204_511, "commands": 96, "bytes": 187_340_021, "requests": 340}
_ANSWER = {"from": "2026-11-01", "to": "2026-11-30", "usage": [{"day": "2026-11-28", "key": "k3f9xa7q", **_AMOUNTS}]}
_FILE = f"day,key,{','.join(AMOUNTS)}\r\n2026-11-28,k3f9xa7q,{','.join(map(str, _AMOUNTS.values()))}\r\n"


class UsageQuery(serializers.Serializer):  # type: ignore[type-arg]  # DRF cannot subscript it
    """Which days, and in what form."""

    to = serializers.DateField(required=False, help_text="the last day, UTC; today by default")
    format = serializers.ChoiceField(["json", "csv"], default="json")

    def get_fields(self) -> Any:
        """`from`, which Python has another use for, and those above."""
        text = f"the first day, UTC; {USUAL_DAYS} days in all by default, {MOST_DAYS} at most"
        return {"from": serializers.DateField(required=False, help_text=text), **super().get_fields()}


class UsageView(Endpoint):
    """What the caller used."""

    permission_classes = [IsUser]

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[BaseRenderer, str]:  # noqa: ARG002
        """None: `format` is a question of this view, and errors are JSON in any case."""
        return JSONRenderer(), "application/json"

    @extend_schema(
        operation_id="own_usage",
        summary="What you used, by API key and day",
        parameters=[UsageQuery],
        responses={
            (200, "application/json"): OpenApiResponse(OwnUsage, "what you used, the newest day first"),
            (200, MEDIA_TYPE): OpenApiResponse(str, "the same as a file, the oldest day first"),
        },
        examples=[
            OpenApiExample("answer", _ANSWER, response_only=True, media_type="application/json"),
            OpenApiExample("file", _FILE, response_only=True, media_type=MEDIA_TYPE),
        ],
        auth=_CREDENTIALS,
    )
    def get(self, request: Request) -> HttpResponseBase:
        """With any credential all of the user's."""
        first, last, form = _asked(request)
        user_id = cast(int, cast(Principal, request.auth).user_id)  # `IsUser` saw to it
        rows = Usage.objects.filter(user_id=user_id, day__range=(first, last))
        with answering():
            if form == "csv":
                return download(rows, COLUMNS, f"usage-{first}-{last}", by="day")
            told = OwnUsage(first, last, _lines(rows))
        return in_json(told)


def _asked(request: Request) -> tuple[date, date, str]:
    """First and last day, and the form.

    Raises:
        ParseError: they make no sense.
        CodedError: too many days.
    """
    query = UsageQuery(data=request.query_params.dict())  # no form: an empty parameter is a wrong one
    query.is_valid(raise_exception=True)
    last = query.validated_data.get("to") or today()
    first = query.validated_data.get("from") or date.fromordinal(max(last.toordinal() - USUAL_DAYS + 1, 1))
    if first > last:
        raise ParseError("'from' is later than 'to'")
    if (last - first).days >= MOST_DAYS:
        raise _too_much(f"ask for {MOST_DAYS} days at most", MOST_DAYS)
    return first, last, query.validated_data["format"]


def _lines(rows: QuerySet[Usage]) -> list[DayUsage]:
    """The lines of a JSON answer.

    Raises:
        CodedError: there are too many.
    """
    found = list(rows.order_by("-day", "key").values(*COLUMNS)[: MOST_LINES + 1])
    if len(found) > MOST_LINES:
        raise _too_much(f"these are more than {MOST_LINES} lines: ask for fewer days, or with format=csv", MOST_LINES)
    return [DayUsage(**row | {"key": row["key"] or None}) for row in found]


def _too_much(text: str, limit: int) -> CodedError:
    return CodedError(Code.LIMIT_EXCEEDED, text, details={"limit": limit})
