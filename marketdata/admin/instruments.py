"""Instruments in the admin."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from marketdata.admin.journal import Journaled
from marketdata.journal import change_all
from marketdata.models import Instrument


@admin.register(Instrument)
class InstrumentAdmin(Journaled):
    """What is traded, and what is served."""

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
