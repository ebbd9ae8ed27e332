"""Latest values over REST."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from django.test import Client

from marketdata import models
from marketdata.instruments import Instrument, instruments
from marketdata.snapshots import is_stale
from marketdata.store import Stamped, Store, now_us
from marketdata.ticks import Tick, body
from realtime.auth import forget_principals

from .conftest import Publish, depth, quote, ticker, trade


def test_data_is_the_stored_body_byte_for_byte(client: Client, publish: Publish) -> None:
    tick = quote(bid="0.10", ask="1.2300")
    publish(tick)
    answer = client.get("/api/v1/snapshots/?topics=quote.AAPL").content
    assert b'"data":' + body(tick) + b"}" in answer


def test_snapshots_carry_the_stamp(client: Client, publish: Publish, store: Store) -> None:
    publish(quote(), quote())
    [found] = client.get("/api/v1/snapshots/?topics=quote.AAPL").json()["snapshots"]
    latest = store.latest(["quote.AAPL"])[0]
    assert latest is not None
    assert found == {
        "topic": "quote.AAPL",
        "epoch": latest.epoch,
        "seq": 2,
        "stale": False,
        "data": json.loads(latest.body),
    }


def test_bad_topics_are_rejected_and_the_others_answered(anonymous: Client, publish: Publish) -> None:
    publish(quote())
    names = "quote.AAPL,nonsense,quote.NONE,quote.GONE,kline.7m.AAPL,rumour.AAPL,depth.AAPL,kline.1m.AAPL"
    answer = anonymous.get(f"/api/v1/snapshots/?topics={names}").json()
    assert [found["topic"] for found in answer["snapshots"]] == ["quote.AAPL", "kline.1m.AAPL"]
    assert [(item["topic"], item["code"], item["name"]) for item in answer["rejected"]] == [
        ("nonsense", 102, "unknown_topic"),
        ("quote.NONE", 120, "unknown_symbol"),
        ("quote.GONE", 120, "unknown_symbol"),
        ("kline.7m.AAPL", 121, "unsupported_type"),
        ("rumour.AAPL", 121, "unsupported_type"),
        ("depth.AAPL", 125, "insufficient_plan"),
    ]
    assert all(item["message"] for item in answer["rejected"])


def test_a_topic_that_was_never_published_has_no_data(client: Client) -> None:
    [found] = client.get("/api/v1/snapshots/?topics=trade.AAPL").json()["snapshots"]
    assert (found["epoch"], found["seq"], found["data"], found["stale"]) == (None, 0, None, True)


def test_a_repeated_topic_is_answered_once(client: Client, publish: Publish) -> None:
    publish(quote())
    assert len(client.get("/api/v1/snapshots/?topics=quote.AAPL,quote.AAPL").json()["snapshots"]) == 1


@pytest.mark.parametrize("query", ["", "?topics=", "?topics=,%20,"])
def test_no_topics_at_all_is_a_bad_request(client: Client, query: str) -> None:
    answer = client.get(f"/api/v1/snapshots/{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == 107
    assert "topics" in answer.json()["error"]["message"]


def test_more_than_200_topics_are_too_many(client: Client) -> None:
    names = ",".join(f"quote.S{n}" for n in range(201))
    answer = client.get(f"/api/v1/snapshots/?topics={names}")
    assert (answer.status_code, answer.json()["error"]["name"]) == (400, "limit_exceeded")
    assert client.get(f"/api/v1/snapshots/?topics={names.rpartition(',')[0]}").status_code == 200


def test_an_unchanged_snapshot_is_304(client: Client, publish: Publish) -> None:
    publish(quote())
    url = "/api/v1/snapshots/?topics=quote.AAPL"
    first = client.get(url)
    again = client.get(url, headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    publish(quote())
    changed = client.get(url, headers={"If-None-Match": first["ETag"]})
    assert changed.status_code == 200
    assert changed["ETag"] != first["ETag"]


def test_answers_are_private_and_revalidated(client: Client) -> None:
    answer = client.get("/api/v1/snapshots/?topics=quote.AAPL")
    assert set(answer["Cache-Control"].split(", ")) == {"private", "no-cache"}
    assert {"Authorization", "Cookie"} <= set(answer["Vary"].split(", "))


@pytest.mark.parametrize(("kind", "tick"), [("quotes", quote()), ("tickers", ticker()), ("depth", depth())])
def test_by_type_reads_give_the_same_snapshot(client: Client, publish: Publish, kind: str, tick: Tick) -> None:
    publish(tick)
    [expected] = client.get(f"/api/v1/snapshots/?topics={tick.topic}").json()["snapshots"]
    assert client.get(f"/api/v1/{kind}/AAPL/").json() == expected


def test_quotes_of_named_symbols(client: Client, publish: Publish) -> None:
    publish(quote(), quote("BTC-USDT"))
    answer = client.get("/api/v1/quotes/?symbols=BTC-USDT,NOPE").json()
    assert [found["topic"] for found in answer["snapshots"]] == ["quote.BTC-USDT"]
    assert [(item["topic"], item["code"]) for item in answer["rejected"]] == [("quote.NOPE", 120)]


def test_quotes_of_all_symbols_may_be_more_than_can_be_named(client: Client, store: Store) -> None:
    models.Instrument.objects.bulk_create(models.Instrument(symbol=f"S{n}", kind="stock") for n in range(250))
    instruments().refresh()
    assert len(client.get("/api/v1/quotes/").json()["snapshots"]) >= 250
    named = ",".join(f"S{n}" for n in range(201))
    assert client.get("/api/v1/quotes/", {"symbols": named}).json()["error"]["code"] == 106


def test_tickers_of_all_symbols(client: Client) -> None:
    answer = client.get("/api/v1/tickers/").json()
    assert [found["topic"] for found in answer["snapshots"]] == ["ticker.600519.SH", "ticker.AAPL", "ticker.BTC-USDT"]


@pytest.mark.parametrize(
    "path", ["quotes/NONE/", "tickers/GONE/", "depth/aapl/", "trades/NONE/", "klines/NONE/", "instruments/NONE/"]
)
def test_an_unlisted_symbol_is_404(client: Client, path: str) -> None:
    answer = client.get(f"/api/v1/{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, 120)


def test_a_type_outside_the_plan_is_403(anonymous: Client) -> None:
    answer = anonymous.get("/api/v1/depth/AAPL/")
    assert (answer.status_code, answer.json()["error"]["name"]) == (403, "insufficient_plan")


def test_a_request_costs_one_round_trip_and_one_query(
    client: Client, publish: Publish, django_assert_num_queries: Any, round_trips: list[int]
) -> None:
    publish(quote(), trade())
    url = "/api/v1/snapshots/?topics=quote.AAPL,trade.AAPL,quote.BTC-USDT"
    client.get(url)  # reads plans and instruments, notes the use of the key
    forget_principals()
    round_trips.clear()
    with django_assert_num_queries(1):
        client.get(url)
    assert len(round_trips) == 1
    with django_assert_num_queries(0):
        client.get(url)


def test_redis_away_is_503_with_retry_after(client: Client, settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    from marketdata import views

    bus = dataclasses.replace(settings.TICKWIRE.bus, redis_url="unix:///nonexistent/redis.sock")
    settings.TICKWIRE = dataclasses.replace(settings.TICKWIRE, bus=bus)
    views.store.cache_clear()
    for path in ("snapshots/?topics=quote.AAPL", "quotes/AAPL/", "trades/AAPL/", "klines/AAPL/", "topics/quote.AAPL/history/"):
        answer = client.get(f"/api/v1/{path}")
        assert answer.status_code == 503, path
        assert int(answer["Retry-After"]) > 0
        error = answer.json()["error"]
        assert (error["name"], error["temporary"]) == ("feed_unavailable", True)
        assert "nonexistent" not in error["message"]
    assert not caplog.records


# staleness

NOON_IN_SHANGHAI_ON_A_TUESDAY_US = 1_731_988_800_000_000  # 2024-11-19 12:00 +08:00, the lunch break


def instrument(symbol: str) -> Instrument:
    found = instruments().get(symbol)
    assert found is not None
    return found


def test_a_topic_is_stale_after_the_allowance(listed: None) -> None:
    now = now_us()
    assert not is_stale(Stamped("e", 1, now - 29_000_000, b""), instrument("AAPL"), now)
    assert is_stale(Stamped("e", 1, now - 31_000_000, b""), instrument("AAPL"), now)
    assert is_stale(None, instrument("AAPL"), now)


def test_nothing_is_stale_while_its_session_is_closed(listed: None) -> None:
    now = NOON_IN_SHANGHAI_ON_A_TUESDAY_US
    assert not is_stale(None, instrument("600519.SH"), now)
    assert is_stale(None, instrument("600519.SH"), now + 2 * 3_600_000_000)
