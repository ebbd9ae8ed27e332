"""Alerts and the messages about them in the admin: to be looked at."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from marketdata.admin.journal import NOTHING, ReadOnly
from monitoring.models import Alert, Delivery, labels_text
from monitoring.notices import number_text
from monitoring.runbooks import address


class DeliveriesInline(admin.TabularInline):  # type: ignore[type-arg]  # Django cannot subscript it
    """Who was told of an alert."""

    model = Delivery
    fields = readonly_fields = ("name", "event", "number", "state", "log")
    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: Any, obj: Any = None) -> bool:  # noqa: ARG002
        """Nobody."""
        return False

    def log(self, row: Delivery) -> SafeString:
        """Every attempt."""
        return attempts(row)


@admin.register(Alert)
class AlertAdmin(ReadOnly):
    """What fires, and what did."""

    list_display = ("name", "of", "severity", "state", "shown_value", "began_at", "resolved_at")
    list_filter = ("state", "severity", "rule")
    search_fields = ("name", "key")
    date_hierarchy = "began_at"
    show_full_result_count = False
    inlines = (DeliveriesInline,)
    fields = (
        "rule",
        "runbook",
        "of",
        "severity",
        "state",
        "since",
        "began_at",
        "resolved_at",
        "shown_value",
        "escalations",
        "told",
        "changes",
    )
    readonly_fields = ("runbook", "of", "shown_value", "changes")

    @admin.display(description="what to do")
    def runbook(self, alert: Alert) -> SafeString | str:
        """The page that its rule names."""
        named = alert.rule.runbook if alert.rule else ""
        found = address(named)
        return format_html('<a href="{}">{}</a>', found, named) if found else named or NOTHING

    @admin.display(description="of")
    def of(self, alert: Alert) -> str:
        """Its labels."""
        return labels_text(alert.labels) or "–"

    @admin.display(description="value", ordering="value")
    def shown_value(self, alert: Alert) -> str:
        """At the last change of state."""
        return "–" if alert.value is None else number_text(alert.value)

    @admin.display(description="history")
    def changes(self, alert: Alert) -> SafeString:
        """Every change of state."""
        lines = (
            (each["at"][:19].replace("T", " "), each["state"], "–" if each["value"] is None else number_text(each["value"]))
            for each in alert.history
        )
        return format_html_join(SafeString("<br>"), "{} UTC: {}, {}", lines) or NOTHING


@admin.register(Delivery)
class DeliveryAdmin(ReadOnly):
    """Messages, and every attempt to send them."""

    list_display = ("title", "name", "event", "state", "tries", "last_error", "created_at")
    list_filter = ("state", "event", "name")
    search_fields = ("title", "name")
    show_full_result_count = False
    fields = ("alert", "notifier", "event", "state", "created_at", "due_at", "title", "text", "log")
    readonly_fields = ("text", "log")

    @admin.display(description="attempts")
    def tries(self, row: Delivery) -> int:
        """How many."""
        return len(row.attempts)

    @admin.display(description="last error")
    def last_error(self, row: Delivery) -> str:
        """Of the last attempt."""
        return (row.attempts[-1]["error"] if row.attempts else "") or "–"

    @admin.display(description="body")
    def text(self, row: Delivery) -> SafeString:
        """As it was sent."""
        return format_html('<pre class="message">{}</pre>', row.body)

    @admin.display(description="attempts")
    def log(self, row: Delivery) -> SafeString:
        """Every one."""
        return attempts(row)


def attempts(row: Delivery) -> SafeString:
    """Every attempt at a message: when, how long it took, what came of it."""
    lines = ((each["at"][:19].replace("T", " "), each["took_ms"], each["error"] or "sent") for each in row.attempts)
    return format_html_join(SafeString("<br>"), "{} UTC, {} ms: {}", lines) or NOTHING
