"""Instruments in the admin."""

from __future__ import annotations

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from marketdata.admin.journal import Journaled
from marketdata.journal import change_all
from marketdata.models import Instrument


class InstrumentForm(forms.ModelForm):  # type: ignore[type-arg]  # Django cannot subscript it
    """An instrument, with what its fields are for."""

    class Meta:
        model = Instrument
        fields = "__all__"
        help_texts = {
            "symbol": "As topics name it: capitals, digits, dots and dashes, as BTC-USDT or 600519.SH.",
            "price_decimals": "Places after the point that pages show of its prices.",
            "size_decimals": "The same of sizes and volumes.",
            "session": "Its market's hours: when its day begins, and when silence of its feed is no fault.",
            "active": "Whether it is served and may be subscribed to.",
        }


@admin.register(Instrument)
class InstrumentAdmin(Journaled):
    """What is traded, and what is served."""

    form = InstrumentForm
    list_display = ("symbol", "name", "kind", "venue", "currency", "session", "simulated", "active")
    list_filter = ("active", "kind", "venue", "session", "simulated")
    search_fields = ("symbol", "name")
    readonly_fields = ("updated_at",)
    actions = ("activate", "deactivate")

    @admin.action(description="Activate the selected instruments", permissions=["change"])
    def activate(self, request: HttpRequest, found: QuerySet[Instrument]) -> None:
        """Serve them."""
        self.message_user(request, f"{change_all(found, 'activate', active=True)} activated.")

    @admin.action(description="Deactivate the selected instruments", permissions=["change"])
    def deactivate(self, request: HttpRequest, found: QuerySet[Instrument]) -> None:
        """Serve them no longer."""
        self.message_user(request, f"{change_all(found, 'deactivate', active=False)} deactivated.")
