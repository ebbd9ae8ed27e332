"""Instruments and bars in the admin."""

from __future__ import annotations

import pytest
from django.test import Client

from marketdata import models
from tests.integration.admin_parts import complaints, shown, superuser

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator() -> Client:
    return superuser()


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


def test_bars_are_shown_with_a_readable_time_and_cannot_be_changed(operator: Client) -> None:
    numbers = dict.fromkeys(("open", "high", "low", "close", "volume", "turnover"), "10")
    bar = models.Kline.objects.create(symbol="AAPL", interval="1m", open_time=1_731_672_000_000_000, trades=1, ts=1, **numbers)
    assert "2024-11-15 12:00" in shown(operator.get("/admin/marketdata/kline/?interval__exact=1m&q=AAPL"))
    assert operator.get("/admin/marketdata/kline/add/").status_code == 403
    assert operator.post(f"/admin/marketdata/kline/{bar.pk}/change/", {}).status_code == 403
    assert operator.post(f"/admin/marketdata/kline/{bar.pk}/delete/", {"post": "yes"}).status_code == 403
