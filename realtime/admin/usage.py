"""What users use in the admin: to be read, added up and taken away as a file."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet, Sum
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode

from marketdata.admin.journal import ReadOnly
from realtime.models import Usage
from realtime.sheets import download
from realtime.usage import AMOUNTS

COLUMNS = {"day": "day", "user": "user__username", "key": "key", **{name: name for name in AMOUNTS}}


@admin.register(Usage)
class UsageAdmin(ReadOnly):
    """Who used how much, by day and API key. What is old goes by itself."""

    list_display = ("day", "of_user", "of_key", *AMOUNTS)
    list_display_links = None
    list_filter = ("day", ("key", admin.EmptyFieldListFilter))
    list_select_related = ("user",)
    search_fields = ("user__username", "user__email", "key")
    date_hierarchy = "day"
    show_full_result_count = False  # it would count all rows of all users
    actions = ("export",)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody on these pages; but whoever may delete a user deletes this with it."""
        page = request.resolver_match.url_name if request.resolver_match is not None else None
        elsewhere = page is not None and not page.startswith("realtime_usage")
        return elsewhere and admin.ModelAdmin.has_delete_permission(self, request, obj)

    @admin.display(description="user", ordering="user__username")
    def of_user(self, usage: Usage) -> str:
        """The user, as a link to all that is theirs."""
        return _filtering(usage.user.get_username(), user__id__exact=usage.user_id)

    @admin.display(description="API key", ordering="key")
    def of_key(self, usage: Usage) -> str:
        """The key, as a link to all that was used with it."""
        return _filtering(usage.key, key__exact=usage.key) if usage.key else "–"

    @admin.action(description="Export as CSV", permissions=["view"])
    def export(self, request: HttpRequest, rows: QuerySet[Usage]) -> HttpResponseBase:  # noqa: ARG002
        """What is selected, as a file."""
        return download(rows, COLUMNS, "usage", by="day")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """The list with the totals of all that matches the filters, on this page and the others."""
        answer: Any = super().changelist_view(request, extra_context)
        listed = getattr(answer, "context_data", {}).get("cl")
        if listed is not None:
            found = listed.queryset.order_by().aggregate(**{f"total_{name}": Sum(name) for name in AMOUNTS})
            totals = {name: f"{found[f'total_{name}'] or 0:,}" for name in AMOUNTS}
            answer.context_data["totals"] = totals
        return answer


def _filtering(text: str, **lookup: Any) -> str:
    return format_html('<a href="{}?{}">{}</a>', reverse("admin:realtime_usage_changelist"), urlencode(lookup), text)
