"""Stored bars in the admin."""

from __future__ import annotations

from datetime import UTC, datetime

from django.contrib import admin

from marketdata.admin.journal import ReadOnly
from marketdata.models import Kline


@admin.register(Kline)
class KlineAdmin(ReadOnly):
    """Closed bars, to look at."""

    list_display = ("symbol", "interval", "opened", "open", "high", "low", "close", "volume", "trades", "revision")
    list_filter = ("interval",)
    search_fields = ("=symbol",)
    ordering = ("-open_time",)
    show_full_result_count = False

    @admin.display(description="open time (UTC)", ordering="open_time")
    def opened(self, kline: Kline) -> str:
        """Open time for a person."""
        return datetime.fromtimestamp(kline.open_time / 1e6, UTC).strftime("%Y-%m-%d %H:%M")
