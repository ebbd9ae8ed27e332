"""Trades and updates that the store still has, over REST."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from marketdata.store import Store
from marketdata.ticks import body

from .conftest import Publish, quote, trade


def test_trades_come_newest_first_as_they_were_stored(client: Client, publish: Publish, store: Store) -> None:
    ticks = [trade(size=str(n)) for n in range(1, 6)]
    publish(*ticks)
    answer = client.get("/api/v1/trades/AAPL/?limit=3")
    assert b'"trades":[' + b",".join(body(tick) for tick in ticks[:1:-1]) + b"]" in answer.content
    assert (answer.json()["symbol"], answer.json()["seq"]) == ("AAPL", 5)
    assert answer.json()["epoch"] == store.history("trade.AAPL").epoch


def test_no_trades_are_an_empty_list(client: Client) -> None:
    assert client.get("/api/v1/trades/AAPL/").json() == {"symbol": "AAPL", "epoch": None, "seq": 0, "trades": []}


@pytest.mark.parametrize("limit", ["0", "1001", "many", "-1"])
def test_a_limit_out_of_bounds_is_a_bad_request(client: Client, limit: str) -> None:
    for path in ("trades/AAPL/", "klines/AAPL/", "topics/quote.AAPL/history/"):
        answer = client.get(f"/api/v1/{path}?limit={limit}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, 107)
        assert answer.json()["error"]["message"].startswith("limit: ")


def test_history_repairs_a_gap(client: Client, publish: Publish, store: Store) -> None:
    ticks = [trade() for _ in range(10)]
    publish(*ticks)
    answer = client.get("/api/v1/topics/trade.AAPL/history/?from_seq=4&to_seq=6").json()
    assert (answer["topic"], answer["epoch"]) == ("trade.AAPL", store.history("trade.AAPL").epoch)
    assert answer["updates"] == [{"seq": seq, "data": json.loads(body(ticks[seq - 1]))} for seq in (4, 5, 6)]


def test_history_without_a_start_gives_the_newest(client: Client, publish: Publish) -> None:
    publish(*(quote() for _ in range(10)))
    answer = client.get("/api/v1/topics/quote.AAPL/history/?limit=2").json()
    assert [update["seq"] for update in answer["updates"]] == [9, 10]


def test_history_with_a_start_gives_the_oldest(client: Client, publish: Publish) -> None:
    publish(*(quote() for _ in range(10)))
    answer = client.get("/api/v1/topics/quote.AAPL/history/?from_seq=3&limit=2").json()
    assert [update["seq"] for update in answer["updates"]] == [3, 4]


@pytest.mark.parametrize(
    ("topic", "status", "code"),
    [("nonsense", 404, 102), ("quote.NONE", 404, 120), ("kline.2m.AAPL", 400, 121), ("depth.AAPL", 403, 125)],
)
def test_history_of_a_topic_that_may_not_be_read(anonymous: Client, topic: str, status: int, code: int) -> None:
    answer = anonymous.get(f"/api/v1/topics/{topic}/history/")
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize("name", ["from_seq", "to_seq"])
def test_a_seq_that_redis_would_refuse_is_not_taken_for_its_failure(client: Client, name: str) -> None:
    answer = client.get(f"/api/v1/topics/quote.AAPL/history/?{name}={2**64}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 107)


@pytest.mark.parametrize("path", ["quotes/?symbols=", "klines/AAPL/?interval=", "klines/AAPL/?start=", "instruments/?venue="])
def test_an_empty_parameter_is_a_wrong_one(client: Client, path: str) -> None:
    answer = client.get(f"/api/v1/{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) in [(400, 107), (400, 121)]


def test_history_ends_before_it_begins(client: Client) -> None:
    answer = client.get("/api/v1/topics/quote.AAPL/history/?from_seq=5&to_seq=4")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 107)
