"""The door for ticks from outside."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from marketdata import models
from marketdata.store import Store, now_us
from marketdata.ticks import body, to_json

from .conftest import quote, trade

URL = "/api/v1/ingest/"


@pytest.fixture
def publisher(key_client: Callable[..., Client]) -> Client:
    """A client whose key may publish."""
    return key_client(can_publish=True)


def post(client: Client, content: bytes | str) -> Any:
    return client.post(URL, content, content_type="application/json")


def batch(*ticks: bytes) -> bytes:
    return b'{"ticks":[' + b",".join(ticks) + b"]}"


def test_accepted_ticks_are_published(publisher: Client, store: Store) -> None:
    sent = quote()
    assert post(publisher, batch(to_json(sent), to_json(trade()))).json() == {"accepted": 2, "duplicates": 0, "rejected": []}
    latest = store.latest(["quote.AAPL"])[0]
    assert latest is not None
    assert latest.body == body(sent)
    assert publisher.get("/api/v1/quotes/AAPL/").json()["data"] == json.loads(body(sent))


def test_trades_make_klines(publisher: Client) -> None:
    post(publisher, batch(to_json(trade(price="10.5"))))
    [bar] = publisher.get("/api/v1/klines/AAPL/?interval=1m").json()["klines"]
    assert (bar["close"], bar["trades"], bar["closed"]) == ("10.5", 1, False)


def test_bars_that_closed_are_kept(publisher: Client) -> None:
    now = now_us()
    post(publisher, batch(to_json(trade(ts=now - 120_000_000)), to_json(trade(ts=now))))
    assert models.Kline.objects.filter(symbol="AAPL", interval="1m").exists()


def test_refused_ticks_are_named_and_the_others_accepted(publisher: Client) -> None:
    malformed = [b'{"type":"quote"}', b"7", b'{"type":"rumour","symbol":"AAPL"}', b'{"symbol":"AAPL","ts":1}']
    unknown = to_json(trade("NONE"))
    crossed = to_json(quote(bid="11", ask="10"))
    answer = post(publisher, batch(malformed[0], to_json(trade()), unknown, crossed, *malformed[1:], to_json(quote()))).json()
    assert answer["accepted"] == 2
    assert [(item["index"], item["code"]) for item in answer["rejected"]] == [
        (0, 107), (2, 120), (3, 107), (4, 107), (5, 107), (6, 107),
    ]  # fmt: skip
    assert all(set(item) == {"index", "code", "message"} and item["message"] for item in answer["rejected"])


def test_a_repeated_trade_is_neither_accepted_nor_rejected(publisher: Client) -> None:
    sent = batch(to_json(trade()))
    post(publisher, sent)
    assert post(publisher, sent).json() == {"accepted": 0, "duplicates": 1, "rejected": []}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "nonsense",
        "[]",
        "7",
        "{}",
        '{"ticks":7}',
        '{"ticks":[],"more":1}',
        '{"ticks":[}',
        b"\xff\xfe",
        "[" * 100_000,
        '{"ticks":' + "[" * 5000,
    ],
)
def test_a_body_that_is_no_batch_is_a_bad_request(publisher: Client, content: bytes | str) -> None:
    answer = post(publisher, content)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 107)


def test_an_empty_batch_is_fine(publisher: Client) -> None:
    assert post(publisher, batch()).json() == {"accepted": 0, "duplicates": 0, "rejected": []}


def test_more_than_1000_ticks_are_too_many(publisher: Client) -> None:
    answer = post(publisher, batch(*[b"{}"] * 1001))
    assert (answer.status_code, answer.json()["error"]["name"]) == (400, "limit_exceeded")


def test_more_than_a_mebibyte_is_too_large(publisher: Client) -> None:
    answer = post(publisher, b" " * (1 << 20) + batch())
    assert (answer.status_code, answer.json()["error"]["name"]) == (413, "limit_exceeded")


def test_a_visitor_may_not_publish(anonymous: Client) -> None:
    answer = post(anonymous, batch())
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, 101)


def test_a_key_without_the_permission_may_not_publish(client: Client) -> None:
    answer = post(client, batch())
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, 103)


def test_a_get_is_not_allowed(publisher: Client) -> None:
    assert publisher.get(URL).status_code == 405


def test_redis_away_is_503_and_the_batch_may_come_again(publisher: Client, store: Store, settings: Any) -> None:
    from marketdata import views

    whole = settings.TICKWIRE
    settings.TICKWIRE = dataclasses.replace(whole, bus=dataclasses.replace(whole.bus, redis_url="unix:///nonexistent/redis.sock"))
    views.store.cache_clear()
    views.ingest.cache_clear()
    sent = batch(to_json(trade()))
    answer = post(publisher, sent)
    assert (answer.status_code, answer.json()["error"]["temporary"]) == (503, True)
    assert int(answer["Retry-After"]) > 0
    settings.TICKWIRE = whole
    views.store.cache_clear()
    views.ingest.cache_clear()
    assert post(publisher, sent).json()["accepted"] == 1
