"""UDF: TradingView's shapes, with the numbers that REST says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client

from marketdata import bars, instruments, models, udf, views
from marketdata.errors import StoreUnavailable
from marketdata.store import Store, now_us
from marketdata.ticks import Kline
from marketdata.topics import Interval
from realtime.limits import forget_plans
from realtime.models import Plan

from . import udf_shapes as shapes
from .conftest import Publish, quote, ticker

MINUTE = 60
FRIDAY = int(datetime(2024, 11, 15, 20, tzinfo=UTC).timestamp())  # New York: 15:00
MONDAY = int(datetime(2024, 11, 18, 15, tzinfo=UTC).timestamp())
NOW = MONDAY + 10 * MINUTE


def bar(
    opening: int, close: str = "10.5", *, symbol: str = "AAPL", interval: Interval = Interval.M1, closed: bool = True
) -> Kline:
    """A bar that opened then, in seconds."""
    start = opening * 1_000_000
    end = start + interval.length_us
    return Kline(symbol, start + 1, interval, start, end, "10", "12.25", "9", close, "100", "1000", 7, closed)


def minutes(opening: int, count: int) -> list[Kline]:
    return [bar(opening + n * MINUTE, f"{10 + n}.5") for n in range(count)]


def times(answer: Any) -> list[int]:
    shapes.check_history(answer)
    return list(answer["t"])


Ask = Callable[..., Any]


@pytest.fixture
def ask(client: Client) -> Ask:
    """The JSON of an endpoint, asked with a key."""
    return lambda name, **query: client.get(f"/udf/{name}", {key.strip("_"): value for key, value in query.items()}).json()


@pytest.fixture
def history(ask: Ask) -> Ask:
    """Bars of AAPL, by the minute if nothing else is said."""
    return lambda **query: ask("history", **({"symbol": "AAPL", "resolution": "1", "to": NOW} | query))


@pytest.fixture
def weekend(client: Client) -> None:
    """Five minutes of Friday and five of Monday, with nothing between."""
    bars.save(minutes(FRIDAY, 5) + minutes(MONDAY, 5))


# what there is


def test_the_configuration_names_resolutions_venues_and_types(ask: Ask) -> None:
    answer = ask("config")
    shapes.check_config(answer)
    assert answer["supported_resolutions"] == ["1", "5", "15", "30", "60", "240", "1D"]
    assert [one["value"] for one in answer["exchanges"]] == ["", "BINANCE", "NASDAQ", "SSE"]
    assert [one["value"] for one in answer["symbols_types"]] == ["", "crypto", "stock"]


def test_the_time_is_text_in_seconds(client: Client) -> None:
    answer = client.get("/udf/time", headers={"Accept": "text/plain"})
    assert answer["Content-Type"].startswith("text/plain")
    assert abs(int(answer.content) - now_us() // 1_000_000) <= 1


def test_a_symbol_is_told_with_its_scale_and_calendar(ask: Ask) -> None:
    models.Instrument.objects.filter(symbol="600519.SH").update(price_decimals=3, size_decimals=2, currency="CNY")
    instruments.instruments.cache_clear()
    answer = ask("symbols", symbol="SSE:600519.SH")
    shapes.check_symbol(answer)
    assert (answer["pricescale"], answer["minmov"], answer["volume_precision"]) == (1000, 1, 2)
    assert (answer["session"], answer["timezone"]) == ("0930-1130,1300-1500", "Asia/Shanghai")
    assert answer["currency_code"] == "CNY"


def test_what_trades_around_the_clock_says_so(ask: Ask) -> None:
    answer = ask("symbols", symbol="btc-usdt")
    shapes.check_symbol(answer)
    assert (answer["ticker"], answer["session"], answer["timezone"]) == ("BTC-USDT", "24x7", "Etc/UTC")


@pytest.mark.parametrize("symbol", ["NOPE", "GONE", "NYSE:AAPL", "", "a b"])
def test_a_symbol_that_is_not_listed_is_an_error(client: Client, symbol: str) -> None:
    answer = client.get("/udf/symbols", {"symbol": symbol})
    shapes.check_error(answer.json())
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["600519.SH", "AAPL", "BTC-USDT"]),
        ({"query": "apple"}, ["AAPL"]),
        ({"query": "b"}, ["BTC-USDT"]),
        ({"query": "in"}, ["AAPL", "BTC-USDT"]),
        ({"query": "t", "limit": 1}, ["BTC-USDT"]),
        ({"query": "NASDAQ:AA"}, ["AAPL"]),
        ({"type": "crypto"}, ["BTC-USDT"]),
        ({"exchange": "SSE"}, ["600519.SH"]),
        ({"query": "gone"}, []),
    ],
)
def test_a_search_finds_by_symbol_name_type_and_venue(ask: Ask, query: dict[str, Any], found: list[str]) -> None:
    answer = ask("search", **query)
    shapes.check_search(answer)
    assert [one["symbol"] for one in answer] == found


def test_a_search_is_bounded_whatever_is_asked(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udf, "MOST_FOUND", 2)
    assert len(ask("search", limit=10**9)) == 2


# bars


def test_bars_of_a_range_are_columns_of_numbers_without_its_end(history: Ask, weekend: None) -> None:
    answer = history(from_=MONDAY + MINUTE, to=MONDAY + 3 * MINUTE)
    assert times(answer) == [MONDAY + MINUTE, MONDAY + 2 * MINUTE]
    assert [answer[name] for name in "ohlcv"] == [[10.0] * 2, [12.25] * 2, [9.0] * 2, [11.5, 12.5], [100.0] * 2]


@pytest.mark.parametrize(("resolution", "interval"), [("1", "1m"), ("60", "1h")])
def test_udf_and_rest_say_the_same_numbers(
    client: Client, history: Ask, publish: Publish, weekend: None, resolution: str, interval: str
) -> None:
    bars.save([bar(FRIDAY + n * 3600, interval=Interval.H1) for n in range(3)])
    publish(bar(MONDAY + 5 * MINUTE, "99.5", closed=False), bar(MONDAY, "98.5", interval=Interval.H1, closed=False))
    told = client.get(f"/api/v1/klines/AAPL/?interval={interval}").json()["klines"]
    answer = history(resolution=resolution, from_=0)
    assert times(answer) == [one["open_time"] // 1_000_000 for one in told]
    for column, name in zip("ohlcv", ("open", "high", "low", "close", "volume"), strict=True):
        assert answer[column] == [float(one[name]) for one in told]


def test_the_open_bar_is_the_last_one(history: Ask, publish: Publish, weekend: None) -> None:
    publish(bar(MONDAY + 5 * MINUTE, "99.5", closed=False))
    assert history(countback=1)["c"] == [99.5]


def test_countback_reaches_over_a_weekend_whatever_from_says(history: Ask, weekend: None) -> None:
    answer = history(from_=MONDAY, countback=7)
    assert times(answer) == [FRIDAY + n * MINUTE for n in (3, 4)] + [MONDAY + n * MINUTE for n in range(5)]


def test_countback_takes_no_more_than_it_says_of_a_longer_range(history: Ask, weekend: None) -> None:
    assert times(history(from_=FRIDAY, countback=2)) == [MONDAY + 3 * MINUTE, MONDAY + 4 * MINUTE]


def test_an_empty_range_names_the_last_bar_before_it(history: Ask, weekend: None) -> None:
    answer = history(from_=FRIDAY + 3600, to=MONDAY)
    shapes.check_history(answer)
    assert answer == {"s": "no_data", "nextTime": FRIDAY + 4 * MINUTE}


def test_before_the_first_bar_there_is_no_data_and_no_next_time(history: Ask, weekend: None) -> None:
    for query in ({"from_": FRIDAY - 3600}, {"countback": 10}, {"from_": -5}):
        assert history(to=FRIDAY, **query) == {"s": "no_data"}


def test_back_through_countback_there_is_neither_hole_nor_repeat(history: Ask, weekend: None) -> None:
    found: list[int] = []
    to = NOW
    while (answer := history(to=to, countback=3))["s"] == "ok":
        found = times(answer) + found
        to = found[0]
    assert found == [FRIDAY + n * MINUTE for n in range(5)] + [MONDAY + n * MINUTE for n in range(5)]


def test_no_answer_has_more_bars_than_the_bound_and_those_are_the_newest(
    history: Ask, weekend: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udf, "MOST_BARS", 3)
    for query in ({"from_": 0}, {"countback": 10**9}):
        assert times(history(**query)) == [MONDAY + n * MINUTE for n in (2, 3, 4)]


def test_times_beyond_all_bounds_are_answered(history: Ask, weekend: None) -> None:
    for resolution in ("1", "1D"):
        shapes.check_history(history(from_=-(10**18), to=10**18, resolution=resolution))


@pytest.mark.parametrize(
    ("symbol", "session", "zone"), [("AAPL", "us", "America/New_York"), ("600519.SH", "cn", "Asia/Shanghai")]
)
def test_a_day_bar_has_midnight_utc_of_its_day_at_the_exchange(ask: Ask, symbol: str, session: str, zone: str) -> None:
    models.Instrument.objects.filter(symbol=symbol).update(session=session)
    instruments.instruments.cache_clear()
    days = [datetime(2024, 11, day) for day in (14, 15, 18)]  # noqa: DTZ001 -- a date
    opened = [int(day.replace(tzinfo=ZoneInfo(zone)).timestamp()) for day in days]
    bars.save([bar(opening, symbol=symbol, interval=Interval.D1) for opening in opened])
    labels = [int(day.replace(tzinfo=UTC).timestamp()) for day in days]

    def asked(**query: int) -> Any:
        return ask("history", symbol=symbol, resolution="D", **query)

    assert times(asked(to=labels[2] + 1, countback=5)) == labels
    assert times(asked(from_=labels[0], to=labels[2])) == labels[:2]
    assert times(asked(from_=labels[1], to=labels[1] + 1)) == labels[1:2]
    assert asked(from_=labels[1] + 1, to=labels[2]) == {"s": "no_data", "nextTime": labels[1]}


@pytest.mark.parametrize(
    "query",
    [
        {"resolution": "7"}, {"resolution": "1W"}, {"resolution": ""}, {"to": "soon"}, {"from": "x"}, {"countback": 0},
        {"countback": "many"}, {"from": NOW + 1}, {},
    ],
)  # fmt: skip
def test_a_resolution_or_range_that_is_none_is_a_bad_request(client: Client, query: dict[str, Any]) -> None:
    answer = client.get("/udf/history", {"symbol": "AAPL", "resolution": "1", "to": NOW} | query)
    shapes.check_error(answer.json())
    assert answer.status_code == 400


def test_a_missing_parameter_is_named(client: Client) -> None:
    answer = client.get("/udf/history", {"symbol": "AAPL", "resolution": "1"})
    assert (answer.status_code, answer.json()) == (400, {"s": "error", "errmsg": "missing parameter `to`"})


def test_a_page_of_bars_costs_one_query_and_two_round_trips_at_most(
    client: Client, weekend: None, round_trips: list[int], django_assert_max_num_queries: Any
) -> None:
    client.get("/udf/symbols", {"symbol": "AAPL"})  # fills caches
    with django_assert_max_num_queries(1):
        client.get("/udf/history", {"symbol": "AAPL", "resolution": "1", "to": NOW, "countback": 5})
    assert len(round_trips) <= 2


# quotes


def test_a_quote_has_last_price_change_day_and_both_sides(ask: Ask, publish: Publish) -> None:
    publish(quote(), ticker())
    answer = ask("quotes", symbols="NASDAQ:AAPL")
    shapes.check_quotes(answer)
    [found] = answer["d"]
    assert (found["s"], found["n"]) == ("ok", "NASDAQ:AAPL")
    assert {name: found["v"][name] for name in shapes.PRICES} == {
        "lp": 10.15, "ch": 0.25, "chp": 2.53, "open_price": 10.0, "high_price": 11.0, "low_price": 9.0,
        "prev_close_price": 9.9, "volume": 1000.0, "bid": 10.1, "ask": 10.2,
    }  # fmt: skip
    assert "stale" not in found["v"]


def test_a_symbol_that_is_not_listed_is_an_error_among_the_other_quotes(ask: Ask, publish: Publish) -> None:
    publish(quote())
    answer = ask("quotes", symbols="NOPE,AAPL")
    shapes.check_quotes(answer)
    assert [(one["n"], one["s"]) for one in answer["d"]] == [("NOPE", "error"), ("AAPL", "ok")]


def test_a_symbol_without_a_price_yet_has_its_names_alone(ask: Ask) -> None:
    answer = ask("quotes", symbols="AAPL")
    shapes.check_quotes(answer)
    assert set(answer["d"][0]["v"]) == shapes.NAMES


def test_a_price_that_is_too_old_is_marked(ask: Ask, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(quote())
    monkeypatch.setattr(udf, "is_stale", lambda *_: True)
    assert ask("quotes", symbols="AAPL")["d"][0]["v"]["stale"] is True


def test_too_many_quotes_at_once_are_refused(client: Client) -> None:
    answer = client.get("/udf/quotes", {"symbols": ",".join(f"S{n}" for n in range(101))})
    shapes.check_error(answer.json())
    assert answer.status_code == 400


# who may, and what fails


def fail(*_: Any, **__: Any) -> Any:
    raise StoreUnavailable("redis.internal:6379")


def test_while_redis_is_away_the_last_known_prices_and_the_bars_at_rest_are_told_as_stale(
    ask: Ask, history: Ask, publish: Publish, weekend: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(ticker())
    ask("quotes", symbols="AAPL")
    monkeypatch.setattr(Store, "latest", fail)
    monkeypatch.setattr(Store, "history", fail)
    quoted, found = ask("quotes", symbols="AAPL")["d"][0], history(countback=2)
    shapes.check_history(found)
    assert (quoted["v"]["lp"], quoted["v"]["stale"]) == (10.15, True)
    assert (found["c"], found["stale"]) == ([13.5, 14.5], True)


def test_what_nobody_knows_while_redis_is_away_is_503_and_names_no_host(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "history", fail)
    answer = client.get("/udf/history", {"symbol": "AAPL", "resolution": "1", "to": NOW, "countback": 1})
    shapes.check_error(answer.json())
    assert (answer.status_code, "redis" in answer.content.decode()) == (503, False)
    assert int(answer["Retry-After"]) > 0


def leave_out(*kinds: str) -> None:
    plan = Plan.objects.get(name="anonymous")
    plan.data_types = [kind for kind in plan.data_types if kind not in kinds]
    plan.save()
    forget_plans()


def test_a_plan_without_klines_has_no_history(anonymous: Client) -> None:
    leave_out("kline")
    answer = anonymous.get("/udf/history", {"symbol": "AAPL", "resolution": "1", "to": NOW, "countback": 1})
    shapes.check_error(answer.json())
    assert answer.status_code == 403


def test_a_plan_without_tickers_is_told_bid_and_ask_alone(anonymous: Client, publish: Publish) -> None:
    leave_out("ticker")
    publish(quote(), ticker())
    answer = anonymous.get("/udf/quotes", {"symbols": "AAPL"}).json()
    assert set(answer["d"][0]["v"]) == shapes.NAMES | {"bid", "ask"}


def test_a_plan_with_neither_quotes_nor_tickers_has_no_quotes(anonymous: Client) -> None:
    leave_out("quote", "ticker")
    answer = anonymous.get("/udf/quotes", {"symbols": "AAPL"})
    shapes.check_error(answer.json())
    assert answer.status_code == 403


@pytest.mark.parametrize("name", ["config", "time", "symbols", "search", "history", "quotes"])
def test_without_an_anonymous_plan_visitors_are_401_everywhere(anonymous: Client, name: str) -> None:
    Plan.objects.filter(name="anonymous").update(enabled=False)
    forget_plans()
    answer = anonymous.get(f"/udf/{name}")
    shapes.check_error(answer.json())
    assert (answer.status_code, answer["WWW-Authenticate"][:6]) == (401, "Bearer")


def test_an_address_that_is_none_and_a_method_that_is_not_offered_are_errors_of_its_shape(client: Client) -> None:
    for answer in (client.get("/udf/marks"), client.post("/udf/config")):
        shapes.check_error(answer.json())
        assert answer.status_code in (404, 405)


def test_a_failure_that_nobody_foresaw_is_an_error_of_its_shape(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.raise_request_exception = False
    monkeypatch.setattr(views.Store, "history", lambda *_, **__: 1 / 0)
    answer = client.get("/udf/history", {"symbol": "AAPL", "resolution": "1", "to": NOW, "countback": 1})
    shapes.check_error(answer.json())
    assert answer.status_code == 500
