"""REST about how the installation fared: the overview's series over time, for staff."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import ParseError
from rest_framework.request import Request

from marketdata.database import answering
from marketdata.endpoint import Endpoint
from monitoring import rollups
from monitoring.overview import SERIES
from monitoring.rollups import KEPT_S, MINUTE, SECOND, Moment
from realtime.auth import IsStaff
from realtime.operations import in_json

USUAL_S = 3600
USUAL_POINTS, MOST_POINTS = 720, 5000
LAST_US = 2**53 - 1
STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 86_400)
_NAMES = ", ".join(f"`{name}`" for name in SERIES)
_LIST = {"type": "string", "pattern": "^({0})(,({0}))*$".format("|".join(SERIES))}
_EXAMPLE = {
    "step": 60, "times": [1731672000000000, 1731672060000000],
    "series": {"delivered": [48211.5, 50120.25], "latency_p99": [0.004, None]},
    "units": {"delivered": "/s", "latency_p99": "s"},
}  # fmt: skip

Us = Annotated[int, msgspec.Meta(ge=0, le=LAST_US)]


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which series, from when to when, and how far apart the points are."""

    series: str | msgspec.UnsetType = msgspec.UNSET
    since: Us | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="from")
    to: Us | msgspec.UnsetType = msgspec.UNSET
    step: Annotated[int, msgspec.Meta(ge=1, le=86_400)] | msgspec.UnsetType = msgspec.UNSET


class History(msgspec.Struct, frozen=True):
    """Series over time, the oldest first. Where nothing is known of a time there is no point, of one series null."""

    step: Annotated[int, msgspec.Meta(description="seconds between points")]
    times: Annotated[list[int], msgspec.Meta(description="when each point begins, µs since the Unix epoch")]
    series: dict[str, list[float | None]]
    units: dict[str, str]


class HistoryView(Endpoint):
    """How the installation fared."""

    permission_classes = [IsStaff]

    @extend_schema(
        operation_id="monitor_history",
        summary="The monitor's series over time: seconds for an hour, minutes for thirty days",
        parameters=[
            OpenApiParameter("series", _LIST, description=f"names, with commas between them; all by default: {_NAMES}"),
            *(
                OpenApiParameter(name, {"type": "integer", "minimum": 0, "maximum": LAST_US}, description=text)
                for name, text in (("from", "µs since the Unix epoch; an hour before `to` by default"), ("to", "the same; now"))
            ),
            OpenApiParameter(
                "step",
                {"type": "integer", "minimum": 1, "maximum": 86_400},
                description=f"seconds between points, {MOST_POINTS} of them at most; by default {USUAL_POINTS} points or fewer. "
                "Of what is kept by the minute it is rounded up to minutes",
            ),
        ],
        responses=OpenApiResponse(History, "what is known"),
        examples=[OpenApiExample("answer", _EXAMPLE)],
    )
    def get(self, request: Request) -> HttpResponse:
        """A longer step takes the mean of what lies in it, of latencies, lags and ages the worst."""
        names, first, last, step = _asked(request)
        source = SECOND if first >= time.time() - KEPT_S[SECOND] - MINUTE and step < MINUTE else MINUTE  # pruned once a minute
        step = -(-step // source) * source
        if (last - first) // step >= MOST_POINTS:
            raise ParseError(f"more than {MOST_POINTS} points: give a longer step, or less time")
        with answering():
            moments = rollups.load(source, first, last)
        return in_json(_answer(names, step, rollups.stretched(moments, step) if step > source else moments))


def _asked(request: Request) -> tuple[Sequence[str], int, int, int]:
    """Names, first and last second, and step.

    Raises:
        ParseError: the query makes no sense.
    """
    try:
        asked: Any = msgspec.convert(request.query_params.dict(), Asked, strict=False)
    except msgspec.ValidationError as failure:
        raise ParseError(str(failure)) from None
    names = tuple(SERIES) if asked.series is msgspec.UNSET else tuple(dict.fromkeys(asked.series.split(",")))
    if unknown := [name for name in names if name not in SERIES]:
        raise ParseError(f"there is no series {unknown[0][:40]!r}")
    last = int(time.time()) if asked.to is msgspec.UNSET else asked.to // 1_000_000
    first = max(0, last - USUAL_S) if asked.since is msgspec.UNSET else -(-asked.since // 1_000_000)
    if first > last:
        raise ParseError("'from' is later than 'to'")
    usual = next((step for step in STEPS_S if (last - first) / step <= USUAL_POINTS), STEPS_S[-1])
    return names, first, last, usual if asked.step is msgspec.UNSET else asked.step


def _answer(names: Sequence[str], step: int, moments: Sequence[Moment]) -> History:
    return History(
        step,
        [moment.at * 1_000_000 for moment in moments],
        {name: [moment.values.get(name) for moment in moments] for name in names},
        {name: SERIES[name].unit for name in names},
    )
