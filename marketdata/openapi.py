"""How the endpoints are described to OpenAPI: a summary, what is asked, what is answered, and an example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema

View = TypeVar("View", bound=Callable[..., Any])

QUOTE = {"symbol": "AAPL", "ts": 1731672000123456, "bid": "228.31", "bid_size": "200", "ask": "228.33", "ask_size": "100"}
TICKER = {
    "symbol": "AAPL", "ts": 1731672000123456, "last": "228.33", "open": "226.40", "high": "229.10", "low": "225.95",
    "prev_close": "226.05", "change": "2.28", "change_percent": "1.01", "volume": "31250800", "turnover": "7118432160.00",
}  # fmt: skip
TRADE = {"symbol": "AAPL", "ts": 1731672000120000, "id": "88123", "price": "228.33", "size": "100", "side": "buy"}
DEPTH = {
    "symbol": "BTC-USDT", "ts": 1731672000123456,
    "bids": [["91250.10", "0.52"], ["91250.00", "1.10"]], "asks": [["91250.20", "0.08"], ["91250.90", "2.31"]],
}  # fmt: skip
KLINE = {
    "symbol": "AAPL", "ts": 1731672000120000, "interval": "1m", "open_time": 1731672000000000, "close_time": 1731672060000000,
    "open": "228.30", "high": "228.33", "low": "228.28", "close": "228.33", "volume": "1400", "turnover": "319655.20",
    "trades": 9, "closed": False, "revision": 0,
}  # fmt: skip
INSTRUMENT = {
    "symbol": "AAPL", "name": "Apple Inc.", "kind": "stock", "venue": "NASDAQ", "currency": "USD",
    "price_decimals": 2, "size_decimals": 0, "session": "us", "simulated": False,
}  # fmt: skip
TRADES = {"symbol": "AAPL", "epoch": "k3f9xa", "seq": 4711, "trades": [TRADE]}
KLINES = {"symbol": "AAPL", "interval": "1m", "klines": [KLINE], "next": "1731672000000000"}
UPDATES = {"topic": "trade.AAPL", "epoch": "k3f9xa", "updates": [{"seq": 4711, "data": TRADE}]}
TICKS = {"ticks": [{"type": "trade", **TRADE}, {"type": "quote", **QUOTE}]}
INGESTED = {"accepted": 1, "duplicates": 0, "rejected": [{"index": 1, "code": 107, "message": "the bid is above the ask"}]}


def snapshot(topic: str, data: dict[str, Any]) -> dict[str, Any]:
    """An example of one latest value."""
    return {"topic": topic, "epoch": "k3f9xa", "seq": 1041, "stale": False, "data": data}


def snapshots(topic: str, data: dict[str, Any]) -> dict[str, Any]:
    """An example of several latest values, one of them refused."""
    kind = topic.partition(".")[0]
    refused = {"topic": f"{kind}.NOPE", "code": 120, "name": "unknown_symbol", "message": "there is no instrument 'NOPE'"}
    return {"snapshots": [snapshot(topic, data)], "rejected": [refused]}


def describe(
    name: str,
    summary: str,
    answer: Any,
    example: Any,
    *,
    query: Any = None,
    request: Any = None,
    request_example: Any = None,
    auth: list[dict[str, Any]] | None = None,
) -> Callable[[View], View]:
    """Describe one endpoint.

    Args:
        name: the operation's id, unique in the API.
        summary: one line.
        answer: struct or serializer of the 200 answer, and an example of it.
        query: serializer of the query parameters.
        request: struct of the request's body, and an example of it.
        auth: what it takes; any credential or none when absent.
    """
    examples = [OpenApiExample("answer", value=example, response_only=True)]
    if request is not None:
        examples.append(OpenApiExample("request", value=request_example, request_only=True))
    return extend_schema(
        operation_id=name,
        summary=summary,
        parameters=[query] if query else None,
        request=request,
        responses=OpenApiResponse(answer, summary),
        examples=examples,
        auth=auth,  # type: ignore[arg-type]  # the library's own documentation passes dictionaries
    )
