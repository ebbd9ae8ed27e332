"""The audit log in the admin, and what makes every other page lead to it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from marketdata.journal import watched
from marketdata.models import JournalEntry

NOTHING = SafeString("–")


class Journaled(admin.ModelAdmin):  # type: ignore[type-arg]  # Django cannot subscript it
    """Rows whose history is in the audit log, and there only: Django's own log says neither before nor after."""

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        """The audit log has it."""

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        """The audit log has it."""

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """The audit log has it."""

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:  # noqa: ARG002
        """What became of this row.

        Raises:
            PermissionDenied: who asks may not see it.
        """
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        query = urlencode({"kind__exact": self.opts.verbose_name, "key__exact": object_id})
        return redirect(f"{reverse('admin:marketdata_journalentry_changelist')}?{query}")


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]  # Django cannot subscript it
    """Rows that nobody adds, changes or deletes here."""

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Nobody."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        """Nobody."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        """Nobody."""
        return False


@admin.register(JournalEntry)
class JournalEntryAdmin(ReadOnly):
    """Who did what, with before and after."""

    list_display = ("time", "who", "action", "kind", "name", "summary", "address", "correlation")
    list_filter = ("action", "kind")
    search_fields = ("who", "name", "action", "kind", "address", "correlation")
    search_help_text = "Who, what it was done to, address, or the request's name as in the server's log."
    date_hierarchy = "at"
    show_full_result_count = False
    list_per_page = 50
    fields = ("time", "who", "address", "correlation", "action", "kind", "row", "changes")
    readonly_fields = ("time", "row", "changes")

    @admin.display(description="time (UTC)", ordering="pk")
    def time(self, entry: JournalEntry) -> str:
        """When it was done, to the second."""
        return f"{entry.at:%Y-%m-%d %H:%M:%S}"

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The list under its own name: nothing is selected here."""
        return super().changelist_view(request, {"title": "Audit log", **(extra_context or {})})

    @admin.display(description="before → after")
    def summary(self, entry: JournalEntry) -> SafeString:
        """The first few fields that differ; of what was added or deleted, nothing."""
        if entry.before is None or entry.after is None:
            return NOTHING
        rows = _rows(entry)
        lines = format_html_join(SafeString("<br>"), "{}: {} → {}", rows[:3])
        return lines if len(rows) <= 3 else format_html("{}<br>and {} more", lines, len(rows) - 3)

    @admin.display(description="what")
    def row(self, entry: JournalEntry) -> SafeString:
        """The row that it was done to, as it is called then, with a link while there may be one."""
        model = watched().get(entry.kind)
        try:
            address = (
                model
                and entry.key
                and reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[entry.key])
            )
        except NoReverseMatch:
            address = ""
        return format_html('<a href="{}">{}</a>', address, entry.name) if address else format_html("{}", entry.name)

    @admin.display(description="changes")
    def changes(self, entry: JournalEntry) -> SafeString:
        """A table of all that is different."""
        rows = format_html_join("", "<tr><th>{}</th><td>{}</td><td>{}</td></tr>", _rows(entry))
        head = SafeString("<tr><th>field</th><th>before</th><th>after</th></tr>")
        return format_html('<table class="changes"><thead>{}</thead><tbody>{}</tbody></table>', head, rows) if rows else NOTHING


def _rows(entry: JournalEntry) -> list[tuple[str, str, str]]:
    """(field, before, after), as text."""
    before, after = entry.before or {}, entry.after or {}
    names = dict.fromkeys([*before, *after])
    return [(name.replace("_", " "), *_shown(name, before, after)) for name in names]


def _shown(name: str, before: dict[str, Any], after: dict[str, Any]) -> tuple[str, str]:
    old, new = before.get(name), after.get(name)
    if isinstance(old, list) and isinstance(new, list) and len(old) + len(new) > 12:
        return _less(old, new), _less(new, old)
    return (_text(old) if name in before else NOTHING), (_text(new) if name in after else NOTHING)


def _less(items: list[Any], others: list[Any]) -> str:
    """A long list without what is in the other one too."""
    own = [item for item in items if item not in others]
    return ", ".join([*map(str, own), f"{len(items) - len(own)} others"])


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_text(item)}" for name, item in value.items()) or "empty"
    return (", ".join(map(str, value)) or "empty") if isinstance(value, list) else str(value)
