"""`manage.py load_demo`: everything once, an operator's edits kept."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from marketdata import bars, demo, store
from marketdata.feeds.market import DAY_US, GENESIS_US
from marketdata.management.commands import load_demo
from marketdata.models import Feed, Instrument, Kline
from marketdata.topics import Interval

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def a_short_past(monkeypatch):
    monkeypatch.setattr(demo, "BARS", 3)
    monkeypatch.setattr(demo, "REAL", ("AAPL",))
    real = [bar for bar in demo.real_bars() if bar.symbol == "AAPL"][-5:]
    monkeypatch.setattr(demo, "real_bars", lambda: real)
    opens = demo.past_opens
    monkeypatch.setattr(demo, "past_opens", lambda *place: opens(*place)[-3:])


@pytest.fixture(autouse=True)
def one_minute(monkeypatch):
    """The clock stands: a minute that ends between two runs would bring new bars."""
    now = store.now_us()
    monkeypatch.setattr(load_demo, "now_us", lambda: now)


def load() -> str:
    out = StringIO()
    call_command("load_demo", stdout=out)
    return out.getvalue()


def test_the_demo_is_complete():
    assert load() == f"Demo: 14 instruments, {5 + 14 * 7 * 3} bars added.\n"
    assert Instrument.objects.filter(simulated=True, session="always").count() == 14
    assert set(Feed.objects.values_list("name", flat=True)) == {"demo", "demo-cn", "demo-tickers"}
    past = bars.load("AAPL", Interval.D1, 0, 1 << 62, 100)
    assert (len(past), past[4].open_time, past[4].close) == (8, GENESIS_US - DAY_US, "430.47")


def test_a_second_run_adds_nothing():
    load()
    assert "0 bars added" in load()


def test_what_is_missing_is_added():
    load()
    Kline.objects.filter(symbol="TEST", interval="1m").first().delete()
    assert "1 bars added" in load()


def test_edits_of_an_operator_stay():
    load()
    Instrument.objects.filter(symbol="AAPL").update(name="Mine", active=False)
    Feed.objects.filter(name="demo").update(options={"seed": 8}, enabled=False)
    load()
    assert Instrument.objects.get(symbol="AAPL").name == "Mine"
    assert Feed.objects.get(name="demo").options == {"seed": 8}


def test_the_past_is_that_of_the_operators_seed():
    load()
    before = closes("BTC-USDT")
    Kline.objects.all().delete()
    Feed.objects.filter(name="demo").update(options={"seed": 8})
    load()
    assert closes("BTC-USDT") != before


def closes(symbol: str) -> list[str]:
    return list(Kline.objects.filter(symbol=symbol).order_by("id").values_list("close", flat=True))


def test_options_that_the_demo_refuses_are_named():
    load()
    Feed.objects.filter(name="demo").update(options={"sede": 8})
    with pytest.raises(CommandError, match="sede"):
        load()


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(demo.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="bokeh_sampledata"):
        demo.real_bars()
