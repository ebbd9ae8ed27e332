"""REST and UDF for a plan with a delay: nothing younger, whatever is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from marketdata import bars, views
from marketdata.as_of import AsOf
from marketdata.errors import StoreUnavailable
from marketdata.history import klines
from marketdata.memory_store import MemoryStore
from marketdata.store import Store
from marketdata.ticks import body
from marketdata.topics import Interval
from realtime.keys import create_key
from realtime.limits import forget_plans
from realtime.models import Account, Plan
from tests.conftest import Clock

from .conftest import Publish, depth, quote, ticker, trade
from .test_klines import MINUTE, START, bar, put

DELAY_S = 900
EARLY, LATE = "10.77", "99.33"  # prices before and within the delay


@pytest.fixture
def late(clock: Clock, client: Client) -> Client:
    """A client whose plan has a delay of a quarter of an hour."""
    Plan.objects.filter(name="free").update(delay_seconds=DELAY_S)
    forget_plans()
    return client


@pytest.fixture
def prompt(late: Client) -> Client:
    """Another one, whose plan has none."""
    user = User.objects.create_user("prompt")
    Account.objects.create(user=user, plan=Plan.objects.get(name="pro"))
    return Client(headers={"Authorization": f"Bearer {create_key(user)[1]}"})


@pytest.fixture
def published(late: Client, publish: Publish, clock: Clock) -> None:
    """Of each type an update that is old enough, and one that is not."""
    clock.us = START + 5 * MINUTE
    for price in (EARLY, LATE):
        publish(
            quote(bid=price, ask=price),
            trade(price=price),
            ticker(last=price),
            depth(bid=price),
            bar(0, price, closed=price == LATE),
        )
        clock.pass_s(DELAY_S - 1)
    clock.pass_s(0.5)


PATHS = [
    "/api/v1/snapshots/?topics=quote.AAPL,trade.AAPL,ticker.AAPL,depth.AAPL,kline.1m.AAPL",
    "/api/v1/quotes/",
    "/api/v1/quotes/?symbols=AAPL",
    "/api/v1/quotes/AAPL/",
    "/api/v1/tickers/",
    "/api/v1/tickers/AAPL/",
    "/api/v1/depth/AAPL/",
    "/api/v1/trades/AAPL/",
    "/api/v1/klines/AAPL/?interval=1m",
    *(
        f"/api/v1/topics/{kind}.AAPL/history/{query}"
        for kind in ("trade", "kline.1m")
        for query in ("", "?from_seq=1", "?limit=1")
    ),
    "/udf/quotes?symbols=AAPL",
    f"/udf/history?symbol=AAPL&resolution=1&from={START // 1_000_000}&to={START // 1_000_000 + 60}",
    f"/udf/history?symbol=AAPL&resolution=1&countback=3&to={START // 1_000_000 + 60}",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.usefixtures("published")
def test_a_delayed_reader_sees_what_is_old_enough_and_nothing_younger(late: Client, prompt: Client, path: str) -> None:
    delayed, present = late.get(path).content.decode(), prompt.get(path).content.decode()
    assert (EARLY in delayed, LATE in delayed, LATE in present) == (True, False, True)


@pytest.mark.usefixtures("published")
def test_what_was_shown_too_early_comes_when_it_is_old_enough(late: Client, clock: Clock) -> None:
    first = late.get("/api/v1/quotes/AAPL/")
    assert late.get("/api/v1/quotes/AAPL/", headers={"If-None-Match": first["ETag"]}).status_code == 304
    clock.pass_s(0.5)
    again = late.get("/api/v1/quotes/AAPL/", headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.json()["data"]["bid"], again.json()["seq"]) == (200, LATE, 2)


def test_a_topic_that_is_all_too_young_has_no_value_yet(late: Client, publish: Publish) -> None:
    publish(quote(), trade())
    [found] = late.get("/api/v1/snapshots/?topics=quote.AAPL").json()["snapshots"]
    assert (found["epoch"], found["seq"], found["data"]) == (None, 0, None)
    assert late.get("/api/v1/trades/AAPL/").json()["trades"] == []
    assert late.get("/api/v1/topics/trade.AAPL/history/").json()["updates"] == []


def test_a_delayed_value_is_as_stale_as_it_was_then(late: Client, publish: Publish, clock: Clock) -> None:
    publish(quote())
    clock.pass_s(DELAY_S + 1)
    assert late.get("/api/v1/quotes/AAPL/").json()["stale"] is False
    clock.pass_s(3600)
    assert late.get("/api/v1/quotes/AAPL/").json()["stale"] is True


def test_udf_says_that_its_data_is_delayed(late: Client, prompt: Client) -> None:
    statuses = [one.get("/udf/symbols?symbol=AAPL").json()["data_status"] for one in (late, prompt)]
    assert statuses == ["delayed_streaming", "streaming"]


# while Redis is away


@pytest.fixture
def away(store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Called: the store is away from now on."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("away")

    def go() -> None:
        for name in ("latest", "history", "as_of"):
            monkeypatch.setattr(views.store(), name, refuse)

    return go


def test_last_known_values_are_given_when_they_are_old_enough(
    late: Client, prompt: Client, publish: Publish, away: Any, clock: Clock
) -> None:
    publish(quote(bid=EARLY))
    prompt.get("/api/v1/quotes/AAPL/")
    away()
    clock.pass_s(DELAY_S - 1)
    assert late.get("/api/v1/quotes/AAPL/").status_code == 503
    clock.pass_s(1)
    found = late.get("/api/v1/quotes/AAPL/").json()
    assert (found["stale"], found["data"]["bid"]) == (True, EARLY)


# bars


def as_of(store: MemoryStore, moment_us: int, **asked: Any) -> tuple[list[bytes], int | None]:
    found = klines(AsOf(store, moment_us), "AAPL", Interval.M1, **asked)
    return found.bodies, found.older_us


@pytest.mark.django_db
def test_bars_at_rest_are_those_that_had_ended_and_the_open_one_is_as_it_was(clock: Clock) -> None:
    store = MemoryStore()
    bars.save([bar(n) for n in range(4)])  # later than the moment, they are all at rest
    for minute in (1, 2, 3):
        for second in (10, 50):
            clock.us = bar(minute).open_time + second * 1_000_000
            put(store, bar(minute, str(second), closed=False))
        clock.us = bar(minute).close_time
        put(store, bar(minute))
    moment_us = bar(2).open_time + 20 * 1_000_000
    assert as_of(store, moment_us) == ([body(bar(0)), body(bar(1)), body(bar(2, "10", closed=False))], None)


@pytest.mark.django_db
def test_a_bar_that_was_revised_since_is_as_it_was(clock: Clock) -> None:
    store = MemoryStore()
    clock.us = bar(1).close_time
    put(store, bar(1))
    clock.pass_s(30)
    put(store, bar(1, "10.5", revision=1))
    bars.save([bar(1, "10.5", revision=1)])
    assert as_of(store, clock.us - 1)[0] == [body(bar(1))]
    assert as_of(store, clock.us)[0] == [body(bar(1, "10.5", revision=1))]


@pytest.mark.django_db
def test_pages_of_bars_then_reach_back_without_hole_or_repeat() -> None:
    bars.save([bar(n) for n in range(10)])
    moment_us = bar(7).open_time + 1  # the eighth is open
    bodies, older = as_of(MemoryStore(), moment_us, limit=3)
    found = bodies
    while older is not None:
        bodies, older = as_of(MemoryStore(), moment_us, limit=3, end_us=older)
        found = bodies + found
    assert found == [body(bar(n)) for n in range(7)]
