"""The read model of instruments over its table; listings; opening hours."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connection
from django.test.utils import CaptureQueriesContext

from marketdata.errors import FeedError
from marketdata.feeds import Listing
from marketdata.instruments import READ_ANYWAY_S, SESSIONS, Instruments, instruments, is_open, list_instruments
from marketdata.models import Instrument as Row

LISTING = Listing("BTC-USDT", "Bitcoin", "crypto", "DEMO", "USDT", 2, 5, simulated=True)


def listing(symbol: str, **changes: str) -> Listing:
    return replace(LISTING, symbol=symbol, **changes)  # type: ignore[arg-type]


@pytest.fixture
def known() -> Instruments:
    return Instruments()


def queries_of(call: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as queries:
        call()
    return len(queries)


@pytest.mark.django_db
def test_lookups_after_the_first_cost_no_query(known: Instruments) -> None:
    Row.objects.create(symbol="X", kind="stock")
    assert queries_of(lambda: known.get("X")) == 1
    assert queries_of(lambda: (known.get("X"), known.get("NONE"), known.find("X"), known.all())) == 0


@pytest.mark.django_db
def test_an_instrument_in_flight_has_the_columns_of_its_row(known: Instruments) -> None:
    row = Row.objects.create(symbol="X", name="Ex", kind="stock", venue="V", session="us", price_decimals=3, simulated=True)
    found = known.get("X")
    assert found is not None
    columns = {field.name for field in Row._meta.concrete_fields} - {"id"}
    assert set(found.__struct_fields__) == columns
    assert all(getattr(found, name) == getattr(row, name) for name in columns)
    with pytest.raises(AttributeError):
        found.active = False  # type: ignore[misc]


@pytest.mark.django_db
def test_only_active_instruments_are_served(known: Instruments) -> None:
    Row.objects.create(symbol="B", kind="stock")
    Row.objects.create(symbol="A", kind="stock")
    Row.objects.create(symbol="OLD", kind="stock", active=False)
    assert [each.symbol for each in known.all()] == ["A", "B"]
    assert (known.get("OLD"), known.find("OLD") is not None) == (None, True)


@pytest.mark.django_db
def test_the_version_grows_only_when_something_changed(known: Instruments) -> None:
    row = Row.objects.create(symbol="X", kind="stock")
    known.refresh()
    known.refresh()
    assert known.version == 1
    row.name = "edited"
    row.save()
    known.refresh()
    assert (known.version, known.get("X").name) == (2, "edited")  # type: ignore[union-attr]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        lambda: Row.objects.create(symbol="Y", kind="stock"),
        lambda: Row.objects.filter(symbol="X").delete(),
        lambda: Row.objects.filter(symbol="X").update(active=False),
        lambda: Row.objects.get(symbol="X").save(),
    ],
)
def test_the_table_is_read_again_only_when_its_mark_has_changed(known: Instruments, change: Callable[[], object]) -> None:
    Row.objects.create(symbol="X", kind="stock")
    known.refresh()
    assert queries_of(known.refresh) == 1  # the mark
    change()
    assert queries_of(known.refresh) == 2
    assert queries_of(known.refresh) == 1


@pytest.mark.django_db
def test_a_change_without_a_mark_acts_in_the_end(known: Instruments, monkeypatch: pytest.MonkeyPatch) -> None:
    Row.objects.create(symbol="X", name="old", kind="stock")
    known.refresh()
    Row.objects.update(name="new")
    now = time.monotonic() + READ_ANYWAY_S + 1
    monkeypatch.setattr("marketdata.instruments.clock.monotonic", lambda: now)
    known.refresh()
    assert known.get("X").name == "new"  # type: ignore[union-attr]


@pytest.mark.django_db
def test_a_refresh_is_made_only_when_the_last_is_too_old(known: Instruments) -> None:
    assert not known.loaded
    known.refresh_if_older(60)
    assert known.loaded
    assert queries_of(lambda: known.refresh_if_older(60)) == 0
    assert queries_of(lambda: known.refresh_if_older(-1)) == 1


@pytest.mark.django_db(transaction=True)
async def test_asynchronous_code_refreshes_in_a_thread(known: Instruments) -> None:
    await known.arefresh_if_older(60)
    assert (known.loaded, known.all()) == (True, [])


async def test_asynchronous_code_that_forgot_to_load_is_told_so(known: Instruments) -> None:
    with pytest.raises(SynchronousOnlyOperation):
        known.get("X")


def test_a_process_has_one_read_model() -> None:
    assert instruments() is instruments()


@pytest.mark.django_db
def test_listings_become_rows_and_never_overwrite_an_edit() -> None:
    list_instruments([LISTING])
    Row.objects.filter(symbol="BTC-USDT").update(name="my name", active=False)
    list_instruments([LISTING, listing("ETH-USDT")])
    assert list(Row.objects.values_list("symbol", "name", "active", "simulated")) == [
        ("BTC-USDT", "my name", False, True),
        ("ETH-USDT", "Bitcoin", True, True),
    ]


@pytest.mark.django_db
def test_many_listings_are_one_insert() -> None:
    assert queries_of(lambda: list_instruments([listing(f"S{n}") for n in range(50)])) <= 3  # with its savepoint


@pytest.mark.django_db
@pytest.mark.parametrize(
    "changes", [{"symbol": "btc/usdt"}, {"symbol": "X", "kind": "spoon"}, {"symbol": "X", "session": "mars"}]
)
def test_a_listing_that_no_row_can_be_made_of_is_named(changes: dict[str, str]) -> None:
    with pytest.raises(FeedError, match=changes["symbol"]):
        list_instruments([listing(**changes)])
    assert not Row.objects.exists()


def us(text: str, zone: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("session", "when", "is_it"),
    [
        ("us", "2024-07-01T09:29:59", False),
        ("us", "2024-07-01T09:30:00", True),
        ("us", "2024-12-02T15:59:59", True),
        ("us", "2024-12-02T16:00:00", False),
        ("us", "2024-07-06T12:00:00", False),  # Saturday
        ("cn", "2019-02-01T11:29:59", True),
        ("cn", "2019-02-01T11:30:00", False),
        ("cn", "2019-02-01T13:00:00", True),
        ("cn", "2019-02-01T15:00:00", False),
        ("always", "2024-07-06T03:00:00", True),
    ],
)
def test_opening_hours_are_those_of_the_venue(session: str, when: str, is_it: bool) -> None:
    zone = {"us": "America/New_York", "cn": "Asia/Shanghai"}.get(session, "UTC")
    assert is_open(session, us(when, zone)) is is_it


def test_every_session_of_the_model_has_hours() -> None:
    assert set(SESSIONS) == set(Row.Session.values)
