"""What an operator sees and does in the admin."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from marketdata import admin, models
from marketdata.errors import StoreUnavailable
from marketdata.feed_status import FRESH_US, FeedStatus, note_status
from marketdata.store import Layout, Store, now_us
from realtime.keys import create_key
from realtime.models import Account, ApiKey, Plan

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    return client


def shown(answer: Any) -> str:
    """The page's text without its tags."""
    assert answer.status_code == 200
    return re.sub(r"<[^>]*>", " ", answer.content.decode())


def complaints(answer: Any) -> Any:
    return answer.context["adminform"].form.errors


def test_the_admin_is_tickwires(operator: Client) -> None:
    assert "Tickwire" in shown(operator.get("/admin/"))


@pytest.mark.parametrize(
    "page",
    ["marketdata/instrument", "marketdata/feed", "marketdata/kline", "realtime/plan", "realtime/account", "realtime/apikey"],
)
def test_every_list_opens_and_can_be_searched(operator: Client, page: str) -> None:
    assert operator.get(f"/admin/{page}/").status_code == 200
    assert operator.get(f"/admin/{page}/?q=AAPL").status_code == 200


# instruments


def test_instruments_are_activated_and_deactivated_together(operator: Client) -> None:
    one = models.Instrument.objects.create(symbol="AAPL", kind="stock")
    two = models.Instrument.objects.create(symbol="IBM", kind="stock")
    for action, active in (("deactivate", False), ("activate", True)):
        operator.post("/admin/marketdata/instrument/", {"action": action, "_selected_action": [one.pk, two.pk]})
        assert set(models.Instrument.objects.values_list("active", flat=True)) == {active}


def test_a_symbol_of_another_form_is_refused(operator: Client) -> None:
    fields = {
        "symbol": "BTC/USDT",
        "kind": "crypto",
        "currency": "USDT",
        "price_decimals": 2,
        "size_decimals": 4,
        "session": "always",
    }
    assert "symbol" in complaints(operator.post("/admin/marketdata/instrument/add/", fields))


# feeds

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
    assert "teapot" in str(complaints(add_feed(operator, kind="teapot")))


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
    monkeypatch.setattr(admin, "feed_statuses", away)
    assert "main" in shown(operator.get("/admin/marketdata/feed/"))


# bars


def test_bars_are_shown_with_a_readable_time_and_cannot_be_changed(operator: Client) -> None:
    numbers = dict.fromkeys(("open", "high", "low", "close", "volume", "turnover"), "10")
    bar = models.Kline.objects.create(symbol="AAPL", interval="1m", open_time=1_731_672_000_000_000, trades=1, ts=1, **numbers)
    assert "2024-11-15 12:00" in shown(operator.get("/admin/marketdata/kline/?interval__exact=1m&q=AAPL"))
    assert operator.get("/admin/marketdata/kline/add/").status_code == 403
    assert operator.post(f"/admin/marketdata/kline/{bar.pk}/change/", {}).status_code == 403
    assert operator.post(f"/admin/marketdata/kline/{bar.pk}/delete/", {"post": "yes"}).status_code == 403


# plans, accounts, keys


def test_plans_are_shown_with_all_they_allow(operator: Client) -> None:
    text = shown(operator.get("/admin/realtime/plan/"))
    assert "quote, ticker, kline, trade" in text
    assert all(name in text for name in ("anonymous", "free", "pro", "dashboard"))


def plan_fields(**changes: Any) -> dict[str, Any]:
    return {
        "name": "free", "enabled": "on", "topics_per_connection": 60, "connections_per_user": 2, "max_rate": "",
        "commands_per_second": 10, "command_burst": 40, "data_types": ["quote", "trade"], "priority": 5,
        "requests_per_second": 30, "request_burst": 90, "connection_policy": "reject", "delay_seconds": 0,
        "symbols": "aapl, *-USDT", "dry_run": ["topics"],
    } | changes  # fmt: skip


def test_a_plan_is_edited(operator: Client) -> None:
    free = Plan.objects.get(name="free")
    assert operator.post(f"/admin/realtime/plan/{free.pk}/change/", plan_fields()).status_code == 302
    free.refresh_from_db()
    assert (free.topics_per_connection, free.max_rate, free.data_types) == (60, None, ["quote", "trade"])
    assert (free.symbols, free.dry_run) == (["AAPL", "*-USDT"], ["topics"])


@pytest.mark.parametrize(
    ("field", "value"),
    [("data_types", []), ("data_types", ["rumour"]), ("command_burst", 0), ("max_rate", 0), ("requests_per_second", 0),
     ("symbols", "/"), ("dry_run", ["rumour"]), ("delay_seconds", -1), ("connections_per_user", 0)],
)  # fmt: skip
def test_a_plan_that_makes_no_sense_is_refused(operator: Client, field: str, value: Any) -> None:
    free = Plan.objects.get(name="free")
    assert field in complaints(operator.post(f"/admin/realtime/plan/{free.pk}/change/", plan_fields(**{field: value})))


def test_a_plan_in_use_is_not_deleted(operator: Client) -> None:
    free = Plan.objects.get(name="free")
    Account.objects.create(user=User.objects.create_user("ada"), plan=free)
    operator.post(f"/admin/realtime/plan/{free.pk}/delete/", {"post": "yes"})
    assert Plan.objects.filter(name="free").exists()


def test_a_key_is_shown_without_its_hash_and_cannot_be_added(operator: Client) -> None:
    row, _ = create_key(User.objects.create_user("ada"), "notebook")
    for page in ("/admin/realtime/apikey/", f"/admin/realtime/apikey/{row.pk}/change/"):
        answer = operator.get(page)
        assert row.prefix in shown(answer)
        assert row.hash not in answer.content.decode()
    assert operator.get("/admin/realtime/apikey/add/").status_code == 403


def test_keys_are_revoked(operator: Client) -> None:
    row, _ = create_key(User.objects.create_user("ada"))
    answer = operator.post("/admin/realtime/apikey/", {"action": "revoke", "_selected_action": [row.pk]}, follow=True)
    assert "1 revoked" in shown(answer)
    assert ApiKey.objects.get().revoked_at is not None


def test_lists_cost_a_bounded_number_of_queries(operator: Client, django_assert_max_num_queries: Any) -> None:
    for n in range(30):
        user = User.objects.create_user(f"user{n}")
        Account.objects.create(user=user, plan=Plan.objects.get(name="free"))
        create_key(user)
    for page in ("realtime/plan", "realtime/account", "realtime/apikey"):
        with django_assert_max_num_queries(12):
            operator.get(f"/admin/{page}/")
