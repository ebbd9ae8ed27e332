"""REST about single updates: when the venue had them, when they were published, and when each process received and wrote them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.request import Request

from marketdata.endpoint import Endpoint, asked_in_body
from marketdata.store import Stamped
from marketdata.topics import parse
from monitoring.latency import NodeTraces, Time, Traced, event_us
from monitoring.registry import store
from realtime.auth import IsStaff
from realtime.operations import asked_for, check_may, in_json
from realtime.orders import orders
from realtime.rights import TAP

MOST_S = 10.0  # for the next update to come
MOST_SHOWN = 500
TOPIC = OpenApiParameter("topic", str, required=True, description="`trade.AAPL`")
_HOPS = {
    "event_us": 1731672000100000,
    "published_us": 1731672000101500,
    "received_us": 1731672000101900,
    "written_us": 1731672000102300,
}
_TRACED = {"topic": "trade.BTC-USDT", "epoch": "k3f9xa", "seq": 10977, "node": "web-1-4711", **_HOPS, "asked": False}
_TRACE = {
    "topic": "trade.BTC-USDT", "seq": 10977, "epoch": "k3f9xa", "event_us": 1731672000100000, "published_us": 1731672000101500,
    "nodes": [{"node": "web-1-4711", "passed": True, "received_us": 1731672000101900, "written_us": 1731672000102300}],
    "silent": 0,
}  # fmt: skip


class Hop(msgspec.Struct, frozen=True):
    """An update in one process. The times are known of samples and of what was asked for."""

    node: str
    passed: Annotated[
        bool | None, msgspec.Meta(description="it had this update or a later one; null: nobody follows the topic there")
    ]
    received_us: Time
    written_us: Time


class Trace(msgspec.Struct, frozen=True):
    """One update on its way."""

    topic: str
    seq: int
    epoch: str
    event_us: Time
    published_us: Time
    nodes: list[Hop]
    silent: Annotated[int, msgspec.Meta(description="processes that did not answer in time")]


class Traces(msgspec.Struct, frozen=True):
    """Updates with their times, the newest first."""

    traced: list[Traced]
    silent: Annotated[int, msgspec.Meta(description="processes that did not answer in time")]


class Tracing(msgspec.Struct, frozen=True):
    """The next update of a topic is noted in so many processes."""

    topic: str
    nodes: int
    within_s: float


class AskedTrace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which update."""

    topic: str
    seq: Annotated[int, msgspec.Meta(ge=1, lt=1 << 53)]


class AskedTraces(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which of those that are kept."""

    topic: str | None = None
    asked: bool | None = None


class NewTrace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of which topic the next update is noted, if it comes soon enough."""

    topic: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    within_s: Annotated[float, msgspec.Meta(gt=0, le=MOST_S)] = MOST_S


class TraceView(Endpoint):
    """An update's way."""

    permission_classes = [IsStaff]

    @extend_schema(
        operation_id="trace",
        summary="The way of one update: venue, store, and each process",
        parameters=[TOPIC, OpenApiParameter("seq", {"type": "integer", "minimum": 1}, required=True)],
        responses=OpenApiResponse(Trace, "its times"),
        examples=[OpenApiExample("answer", _TRACE, response_only=True)],
    )
    def get(self, request: Request) -> HttpResponse:
        """While the store keeps it, or a process noted it."""
        asked: AskedTrace = asked_for(AskedTrace, request)
        topic = str(parse(asked.topic))
        history = store().history(topic, from_seq=asked.seq, to_seq=asked.seq, limit=1)
        answers, silent = orders().hops(topic=topic, seq=asked.seq)
        nodes = [msgspec.json.decode(answer, type=NodeTraces) for answer in answers]
        return in_json(_trace(topic, asked.seq, history.updates[0] if history.updates else None, nodes, silent))

    @extend_schema(
        operation_id="trace_next",
        summary="Have the next update of a topic noted in every process where it is followed",
        request=NewTrace,
        responses={202: OpenApiResponse(Tracing, "it will be among the samples, with `asked`")},
        examples=[
            OpenApiExample(
                "answer", {"topic": "trade.BTC-USDT", "nodes": 2, "within_s": 10.0}, response_only=True, status_codes=["202"]
            ),
            OpenApiExample("request", {"topic": "trade.BTC-USDT"}, request_only=True),
        ],
    )
    def post(self, request: Request) -> HttpResponse:
        """With the permission `realtime.tap`."""
        check_may(request, TAP)
        asked = asked_in_body(NewTrace, request)
        topic = str(parse(asked.topic))
        nodes = orders().trace_next(topic, asked.within_s)
        if not nodes:
            raise NotFound("nobody follows this topic")
        return in_json(Tracing(topic, nodes, asked.within_s), 202)


class TracesView(Endpoint):
    """Updates whose times are known."""

    permission_classes = [IsStaff]

    @extend_schema(
        operation_id="traces",
        summary="Updates with their times: samples of each process, and those that were asked for",
        parameters=[
            OpenApiParameter("topic", str, description="of that topic"),
            OpenApiParameter("asked", bool, description="only those that were asked for, or only samples"),
        ],
        responses=OpenApiResponse(Traces, "the last hundred of either kind, of each process"),
        examples=[OpenApiExample("answer", {"traced": [_TRACED], "silent": 0})],
    )
    def get(self, request: Request) -> HttpResponse:
        """Five a second at most are sampled."""
        asked: AskedTraces = asked_for(AskedTraces, request)
        answers, silent = orders().hops(topic=asked.topic, asked=asked.asked)
        found = [each for answer in answers for each in msgspec.json.decode(answer, type=NodeTraces).traced]
        found.sort(key=lambda each: each.received_us or 0, reverse=True)
        return in_json(Traces(found[:MOST_SHOWN], silent))


def _trace(topic: str, seq: int, stored: Stamped | None, nodes: list[NodeTraces], silent: int) -> Trace:
    """All that is known.

    Raises:
        NotFound: nothing is.
    """
    noted = [each for node in nodes for each in node.traced]
    epoch = stored.epoch if stored is not None else max(noted, key=_received).epoch if noted else None
    if epoch is None:
        raise NotFound("the store does not keep this update any more, or not yet, and no process noted it")
    of_epoch = [each for each in noted if each.epoch == epoch]
    known = stored.published_us if stored is not None else of_epoch[-1].published_us
    event = event_us(stored) if stored is not None else of_epoch[-1].event_us
    return Trace(topic, seq, epoch, event, known, [_hop(node, epoch, seq, of_epoch) for node in nodes], silent)


def _hop(node: NodeTraces, epoch: str, seq: int, noted: list[Traced]) -> Hop:
    own = next((each for each in noted if each.node == node.node), None)
    passed = own is not None or (None if node.seq is None else node.epoch == epoch and node.seq >= seq)
    return Hop(node.node, passed, own.received_us if own else None, own.written_us if own else None)


def _received(traced: Traced) -> int:
    return traced.received_us or 0
