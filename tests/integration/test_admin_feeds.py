"""Feeds in the admin."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from marketdata import models
from marketdata.admin import feeds
from marketdata.errors import StoreUnavailable
from marketdata.feed_status import FRESH_US, FeedStatus, note_status
from marketdata.layout import Layout
from marketdata.store import Store, now_us
from tests.integration.admin_parts import complaints, shown, superuser

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator() -> Client:
    return superuser()


FEED = {"name": "mine", "kind": "demo", "enabled": "on", "symbols": "[]", "options": "{}", "hold_s": "30"}


def add_feed(operator: Client, **changes: str) -> Any:
    return operator.post("/admin/marketdata/feed/add/", FEED | changes)


def test_a_feed_is_saved(operator: Client) -> None:
    assert add_feed(operator, symbols='["AAPL"]').status_code == 302
    assert models.Feed.objects.get().symbols == ["AAPL"]


def test_an_option_that_the_kind_refuses_is_named(operator: Client) -> None:
    errors = complaints(add_feed(operator, options='{"sped": 3}'))
    assert "sped" in str(errors["options"])


def test_options_that_are_no_object_are_refused(operator: Client) -> None:
    assert "options" in complaints(add_feed(operator, options="[1]"))


def test_a_kind_that_does_not_exist_is_refused(operator: Client) -> None:
    (named,) = complaints(add_feed(operator, kind="teapot")).items()
    assert named[0] == "kind"
    assert named[1][0].startswith("'teapot' is not a kind of feed; there are ccxt, demo")


@pytest.mark.parametrize("symbols", ['"AAPL"', '["btc/usdt"]', "[7]", '{"AAPL": 1}'])
def test_symbols_must_be_a_list_of_symbols(operator: Client, symbols: str) -> None:
    assert "symbols" in complaints(add_feed(operator, symbols=symbols))


def test_a_standby_is_saved(operator: Client) -> None:
    models.Feed.objects.create(name="main", kind="demo")
    assert add_feed(operator, standby_for="main", hold_s="5", most_per_s="100").status_code == 302
    feed = models.Feed.objects.get(name="mine")
    assert (feed.standby_for, feed.hold_s, feed.most_per_s) == ("main", 5, 100)


def test_a_feed_that_stands_in_for_nobody_has_no_empty_name_there(operator: Client) -> None:
    add_feed(operator, standby_for="")
    assert models.Feed.objects.get().standby_for is None


@pytest.mark.parametrize(
    ("standby_for", "says"),
    [
        ("mine", "itself"),
        ("nobody", "no feed &#x27;nobody&#x27;"),
        ("second", "is a standby itself, of &#x27;main&#x27;"),
        ("demo-cn", "polled"),
    ],
)
def test_a_standby_of_what_cannot_have_one_is_refused(operator: Client, standby_for: str, says: str) -> None:
    models.Feed.objects.create(name="main", kind="demo")
    models.Feed.objects.create(name="second", kind="demo", standby_for="main")
    models.Feed.objects.create(name="demo-cn", kind="demo-cn")
    assert says in str(complaints(add_feed(operator, standby_for=standby_for))["standby_for"])


def test_a_feed_that_has_a_standby_cannot_become_one(operator: Client) -> None:
    models.Feed.objects.create(name="other", kind="demo")
    models.Feed.objects.create(name="second", kind="demo", standby_for="mine")
    assert "second" in str(complaints(add_feed(operator, standby_for="other"))["standby_for"])


@pytest.mark.parametrize(("field", "value"), [("most_per_s", "0"), ("hold_s", "-1"), ("hold_s", "")])
def test_bounds_of_a_feed_that_make_no_sense_are_refused(operator: Client, field: str, value: str) -> None:
    assert field in complaints(add_feed(operator, **{field: value}))


def test_the_list_of_feeds_says_what_they_do(
    operator: Client, redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "from_settings", lambda: Store(redis_url, Layout(prefix)))
    for name in ("main", "second", "off"):
        models.Feed.objects.create(name=name, kind="demo", standby_for="main" if name == "second" else None)
    store = Store.from_settings()
    states = {"main": {"fault": "mute"}, "second": {"healthy": True, "active_symbols": 3, "duplicates": 7}}
    for name, state in states.items():
        status = FeedStatus(name=name, kind="demo", polled=False, symbols=3, good_until_us=now_us() + FRESH_US, **state)
        note_status(store, status)
    text = shown(operator.get("/admin/marketdata/feed/"))
    store.close()
    assert "mute, writes 0 of 3 symbols" in text
    assert "well, writes 3 of 3 symbols, 7 duplicates" in text
    assert "–" in text


def test_the_list_of_feeds_opens_while_redis_is_away(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: Store) -> None:
        raise StoreUnavailable("Redis: gone")

    models.Feed.objects.create(name="main", kind="demo")
    monkeypatch.setattr(feeds, "feed_statuses", away)
    assert "main" in shown(operator.get("/admin/marketdata/feed/"))
