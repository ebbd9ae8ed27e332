"""The catalogue over REST."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from marketdata import models
from marketdata.instruments import instruments


def symbols(client: Client, query: str = "") -> list[str]:
    return [item["symbol"] for item in client.get(f"/api/v1/instruments/{query}").json()["results"]]


def test_active_instruments_come_by_symbol(anonymous: Client) -> None:
    assert symbols(anonymous) == ["600519.SH", "AAPL", "BTC-USDT"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?search=btc", ["BTC-USDT"]),
        ("?search=apple", ["AAPL"]),
        ("?type=stock", ["600519.SH", "AAPL"]),
        ("?venue=SSE", ["600519.SH"]),
        ("?type=stock&search=a&venue=NASDAQ", ["AAPL"]),
        ("?venue=NOWHERE", []),
    ],
)
def test_filters_narrow_it_down(anonymous: Client, query: str, expected: list[str]) -> None:
    assert symbols(anonymous, query) == expected


def test_a_kind_that_does_not_exist_is_a_bad_request(anonymous: Client) -> None:
    answer = anonymous.get("/api/v1/instruments/?type=teapot")
    assert (answer.status_code, answer.json()["error"]["name"]) == (400, "bad_request")
    assert answer.json()["error"]["message"].startswith("type: ")


def test_pages_follow_one_another(anonymous: Client) -> None:
    first = anonymous.get("/api/v1/instruments/?page_size=2").json()
    assert first["count"] == 3
    second = anonymous.get(first["next"]).json()
    assert [item["symbol"] for item in second["results"]] == ["BTC-USDT"]
    assert second["next"] is None


def test_a_page_has_500_at_most(anonymous: Client) -> None:
    models.Instrument.objects.bulk_create(models.Instrument(symbol=f"S{n}", kind="stock") for n in range(510))
    instruments().refresh()
    assert len(symbols(anonymous, "?page_size=1000")) == 500


@pytest.mark.parametrize(
    "query", ["?page=0", "?page=", "?page=x", "?page_size=0", "?page_size=-1", "?page_size=", "?page_size=x"]
)
def test_a_page_that_cannot_be_is_a_bad_request(anonymous: Client, query: str) -> None:
    answer = anonymous.get(f"/api/v1/instruments/{query}")
    assert (answer.status_code, answer.json()["error"]["name"]) == (400, "bad_request")


def test_a_page_beyond_the_last_is_404(anonymous: Client) -> None:
    assert anonymous.get("/api/v1/instruments/?page=9").status_code == 404


def test_one_instrument_tells_how_to_show_its_prices(anonymous: Client) -> None:
    assert anonymous.get("/api/v1/instruments/600519.SH/").json() == {
        "symbol": "600519.SH",
        "name": "Kweichow Moutai",
        "kind": "stock",
        "venue": "SSE",
        "currency": "USD",
        "price_decimals": 2,
        "size_decimals": 0,
        "session": "cn",
        "simulated": False,
    }


def test_the_list_costs_no_query_of_its_own(anonymous: Client, django_assert_num_queries: Any) -> None:
    symbols(anonymous)
    with django_assert_num_queries(0):
        symbols(anonymous)


def test_an_edit_shows_after_moments(anonymous: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    symbols(anonymous)
    models.Instrument.objects.filter(symbol="AAPL").update(active=False)
    monkeypatch.setattr("marketdata.access.INSTRUMENTS_AGE_S", -1.0)
    assert anonymous.get("/api/v1/instruments/AAPL/").status_code == 404
