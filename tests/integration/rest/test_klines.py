"""Bars at rest joined with the store's, as a function and over REST."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from marketdata import bars
from marketdata.history import FEW, klines
from marketdata.memory_store import MemoryStore
from marketdata.store import Update
from marketdata.ticks import Kline, body
from marketdata.topics import Interval

from .conftest import Publish

MINUTE = 60_000_000
START = 1_731_672_000_000_000

pytestmark = pytest.mark.django_db


def bar(minute: int, close: str = "10", *, closed: bool = True, revision: int = 0) -> Kline:
    start = START + minute * MINUTE
    return Kline(
        "AAPL", start + 1, Interval.M1, start, start + MINUTE, "10", "12", "9", close, "100", "1000", 7, closed, revision
    )


def put(store: MemoryStore, *found: Kline) -> None:
    store.publish([Update(str(one.topic), body(one)) for one in found])


def page(store: MemoryStore, **asked: Any) -> tuple[list[bytes], int | None]:
    found = klines(store, "AAPL", Interval.M1, **asked)
    return found.bodies, found.older_us


def test_bars_at_rest_the_closed_and_the_open_one_make_one_row() -> None:
    store = MemoryStore()
    bars.save([bar(0), bar(1)])
    put(store, bar(1, closed=False), bar(1), bar(2, closed=False), bar(2, "11", closed=False))
    assert page(store) == ([body(bar(0)), body(bar(1)), body(bar(2, "11", closed=False))], None)


def test_a_bar_that_closed_but_is_not_saved_yet_is_no_hole() -> None:
    store = MemoryStore()
    bars.save([bar(0)])
    put(store, bar(1), bar(2), bar(3, closed=False))
    assert page(store)[0] == [body(bar(0)), body(bar(1)), body(bar(2)), body(bar(3, closed=False))]


def test_unsaved_bars_are_found_behind_many_updates_of_the_open_one() -> None:
    store = MemoryStore()
    bars.save([bar(0)])
    put(store, bar(1), *(bar(2, str(n), closed=False) for n in range(10, 10 + 2 * FEW)))
    assert [body(bar(0)), body(bar(1))] == page(store)[0][:2]


def test_the_store_is_asked_for_few_updates_when_these_reach_the_bars_at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    bars.save([bar(0), bar(1)])
    put(store, *(bar(2, str(n), closed=False) for n in range(10, 10 + 2 * FEW)))
    asked = []
    history = store.history
    monkeypatch.setattr(store, "history", lambda topic, **wanted: asked.append(wanted["limit"]) or history(topic, **wanted))
    page(store)
    assert asked == [FEW]


def test_the_store_is_asked_for_few_updates_when_the_page_lies_before_them(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    bars.save([bar(n) for n in range(10)])
    put(store, *(bar(20 + n) for n in range(2 * FEW)))
    asked = []
    history = store.history
    monkeypatch.setattr(store, "history", lambda topic, **wanted: asked.append(wanted["limit"]) or history(topic, **wanted))
    assert page(store, end_us=bar(5).open_time)[0] == [body(bar(n)) for n in range(5)]
    assert asked == [FEW]


def test_a_page_whose_end_is_not_at_rest_is_filled_from_behind_many_later_updates() -> None:
    store = MemoryStore()
    bars.save([bar(0), bar(1)])
    put(store, bar(2), bar(3), *(bar(5, str(n), closed=False) for n in range(10, 10 + 2 * FEW)))
    assert page(store, end_us=bar(4).open_time)[0] == [body(bar(n)) for n in range(4)]


def test_a_revision_in_the_store_replaces_the_bar_at_rest() -> None:
    store = MemoryStore()
    bars.save([bar(0), bar(1), bar(2)])
    put(store, bar(1, "10.5", revision=1), bar(3, closed=False))
    assert page(store)[0][1] == body(bar(1, "10.5", revision=1))


def test_a_later_revision_at_rest_stays() -> None:
    store = MemoryStore()
    put(store, bar(1))
    bars.save([bar(1, "10.5", revision=1)])
    assert page(store)[0] == [body(bar(1, "10.5", revision=1))]


def test_start_is_included_and_end_is_not() -> None:
    store = MemoryStore()
    bars.save([bar(n) for n in range(5)])
    put(store, bar(4), bar(5, closed=False))
    assert page(store, start_us=bar(1).open_time, end_us=bar(3).open_time)[0] == [body(bar(1)), body(bar(2))]


def test_pages_reach_back_without_hole_or_repeat() -> None:
    store = MemoryStore()
    every = [bar(n) for n in range(10)]
    bars.save(every[:8])
    put(store, *every[6:], bar(10, closed=False))
    bodies, older = page(store, limit=3)
    found = bodies
    while older is not None:
        bodies, older = page(store, limit=3, end_us=older)
        found = bodies + found
    assert found == [*map(body, every), body(bar(10, closed=False))]


def test_a_store_without_bars_leaves_those_at_rest() -> None:
    bars.save([bar(0)])
    assert page(MemoryStore()) == ([body(bar(0))], None)


def test_no_bars_at_all_are_an_empty_page() -> None:
    assert page(MemoryStore()) == ([], None)


# over REST


def test_bars_are_answered_oldest_first_byte_for_byte(client: Client, publish: Publish) -> None:
    bars.save([bar(0), bar(1)])
    publish(bar(2, closed=False))
    answer = client.get("/api/v1/klines/AAPL/?interval=1m").content
    expected = b",".join([body(bar(0)), body(bar(1)), body(bar(2, closed=False))])
    assert answer == b'{"symbol":"AAPL","interval":"1m","klines":[' + expected + b'],"next":null}'


def test_next_is_the_cursor_of_older_bars(client: Client) -> None:
    bars.save([bar(n) for n in range(5)])
    first = client.get("/api/v1/klines/AAPL/?limit=3").json()
    second = client.get(f"/api/v1/klines/AAPL/?limit=3&cursor={first['next']}").json()
    assert [item["open_time"] for item in second["klines"] + first["klines"]] == [bar(n).open_time for n in range(5)]
    assert second["next"] is None


@pytest.mark.parametrize("interval", ["7m", "1M", "1m.AAPL", "1m."])
def test_an_interval_that_does_not_exist_is_unsupported(client: Client, interval: str) -> None:
    answer = client.get(f"/api/v1/klines/AAPL/?interval={interval}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 121)


@pytest.mark.parametrize("query", ["start=yesterday", "end=-1", "cursor=x"])
def test_a_time_that_is_none_is_a_bad_request(client: Client, query: str) -> None:
    answer = client.get(f"/api/v1/klines/AAPL/?{query}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 107)
    assert answer.json()["error"]["message"].startswith(query.partition("=")[0])


def test_bars_cost_one_query_and_two_round_trips_at_most(
    client: Client, publish: Publish, round_trips: list[int], django_assert_num_queries: Any
) -> None:
    bars.save([bar(0)])
    publish(*(bar(5, str(n), closed=False) for n in range(10, 10 + 2 * FEW)))
    client.get("/api/v1/klines/AAPL/")
    round_trips.clear()
    with django_assert_num_queries(1):
        client.get("/api/v1/klines/AAPL/")
    assert len(round_trips) == 2
