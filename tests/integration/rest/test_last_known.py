"""REST while Redis is away, or has lost its memory: the last known values, marked stale; what is not known is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from marketdata import bars, views
from marketdata.errors import StoreUnavailable
from marketdata.store import Store
from tests.integration.rest.conftest import Publish, depth, quote, ticker
from tests.integration.rest.test_klines import bar


@pytest.fixture
def away(store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Called: the store is away from now on."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("away")

    def go() -> None:
        for name in ("latest", "history"):
            monkeypatch.setattr(views.store(), name, refuse)

    return go


@pytest.mark.parametrize(("kind", "tick"), [("quotes", quote()), ("tickers", ticker()), ("depth", depth())])
def test_a_value_that_was_read_before_is_served_and_marked(
    client: Client, publish: Publish, away: Any, kind: str, tick: Any
) -> None:
    publish(tick)
    before = client.get(f"/api/v1/{kind}/AAPL/").json()
    away()
    answer = client.get(f"/api/v1/{kind}/AAPL/")
    assert answer.status_code == 200
    assert answer.json() == before | {"stale": True}


def test_what_is_unknown_is_refused_beside_what_is_known(client: Client, publish: Publish, away: Any) -> None:
    publish(quote(), quote("BTC-USDT"))
    client.get("/api/v1/quotes/AAPL/")
    away()
    answer = client.get("/api/v1/snapshots/?topics=quote.AAPL,quote.BTC-USDT").json()
    assert [(found["topic"], found["stale"]) for found in answer["snapshots"]] == [("quote.AAPL", True)]
    assert [(item["topic"], item["code"], item["name"]) for item in answer["rejected"]] == [
        ("quote.BTC-USDT", 126, "feed_unavailable")
    ]


def test_nothing_known_is_503(client: Client, store: Store, away: Any) -> None:
    away()
    answer = client.get("/api/v1/quotes/AAPL/")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, 126)
    assert int(answer["Retry-After"]) > 0


@pytest.mark.parametrize("path", ["trades/AAPL/", "klines/AAPL/", "topics/quote.AAPL/history/"])
def test_history_is_not_told_from_memory(client: Client, publish: Publish, away: Any, path: str) -> None:
    publish(quote())
    client.get("/api/v1/quotes/AAPL/")
    away()
    assert client.get(f"/api/v1/{path}").status_code == 503


def test_klines_are_those_at_rest_and_marked(client: Client, store: Store, away: Any) -> None:
    bars.save([bar(0), bar(1)])
    fresh = client.get("/api/v1/klines/AAPL/").json()
    assert "stale" not in fresh
    away()
    assert client.get("/api/v1/klines/AAPL/").json() == fresh | {"stale": True}


def test_the_plan_counts_as_ever(anonymous: Client, client: Client, publish: Publish, away: Any) -> None:
    publish(depth())
    client.get("/api/v1/depth/AAPL/")
    away()
    assert anonymous.get("/api/v1/depth/AAPL/").status_code == 403


def test_a_wiped_store_is_filled_in_for_until_the_next_update(client: Client, publish: Publish, store: Store) -> None:
    publish(quote(bid="1"))
    before = client.get("/api/v1/quotes/AAPL/").json()
    store.client.delete(*store.client.keys(f"{store.layout.prefix}:*"))
    assert client.get("/api/v1/quotes/AAPL/").json() == before | {"stale": True}
    publish(quote(bid="2"))
    after = client.get("/api/v1/quotes/AAPL/").json()
    assert (after["data"]["bid"], after["seq"], after["stale"]) == ("2", 1, False)
