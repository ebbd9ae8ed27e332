"""Stored bars in the admin."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from marketdata.models import Kline
from tests.integration.admin_parts import shown, superuser

pytestmark = pytest.mark.django_db
PAGE = "/admin/marketdata/kline/"
MINUTE = 60_000_000


@pytest.fixture(autouse=True)
def bars() -> None:
    Kline.objects.bulk_create(
        Kline(symbol=symbol, interval="1m", open_time=n * MINUTE, open="1", high="1", low="1", close=str(n), volume="1",
              turnover="1", trades=1, ts=0)
        for symbol in ("AAPL", "AAPL.B", "MSFT") for n in range(3)
    )  # fmt: skip


def plan(sql: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
        return " ".join(str(row) for row in cursor.fetchall())


@pytest.mark.parametrize("query", ["", "?q=aapl", "?q=AAPL&interval__exact=1m"])
def test_a_page_of_bars_sorts_none_of_the_others(query: str) -> None:
    client = superuser()
    with CaptureQueriesContext(connection) as asked:
        assert client.get(PAGE + query).status_code == 200
    listed: Any = [each["sql"] for each in asked if "kline" in each["sql"] and "ORDER BY" in each["sql"]]
    assert len(listed) == 1
    assert "INDEX" in plan(listed[0])
    assert "TEMP B-TREE" not in plan(listed[0])


def test_a_search_finds_one_symbol_in_any_case_newest_first() -> None:
    page = shown(superuser().get(f"{PAGE}?q=aapl"))
    assert "AAPL.B" not in page
    assert page.index("1970-01-01 00:02") < page.index("1970-01-01 00:01")
