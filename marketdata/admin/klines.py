"""Stored bars in the admin."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from marketdata.admin.journal import ReadOnly
from marketdata.models import Kline


@admin.register(Kline)
class KlineAdmin(ReadOnly):
    """Closed bars, to look at."""

    list_display = ("symbol", "interval", "opened", "open", "high", "low", "close", "volume", "trades", "revision")
    list_filter = ("interval",)
    search_fields = ("symbol",)
    search_help_text = "A symbol. The newest bars of it come first."
    # The unique index read from its end: by time alone, all of many millions of bars would be sorted for one page.
    ordering = ("-symbol", "-interval", "-open_time")
    show_full_result_count = False

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Kline], search_term: str) -> Any:  # noqa: ARG002
        """Bars of one symbol, which the index finds: symbols are written in capitals."""
        symbol = search_term.strip().upper()
        return (queryset.filter(symbol=symbol) if symbol else queryset), False

    @admin.display(description="open time (UTC)", ordering="open_time")
    def opened(self, kline: Kline) -> str:
        """Open time for a person."""
        return datetime.fromtimestamp(kline.open_time / 1e6, UTC).strftime("%Y-%m-%d %H:%M")
