"""Plans in the admin."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from marketdata.admin.journal import Journaled
from marketdata.topics import DataType
from realtime.admin.fields import TRIALS, TYPES, SeveralField, SymbolsField
from realtime.models import Plan

LABELS = {
    "topics_per_connection": "Topics per connection",
    "connections_per_user": "Connections per user",
    "connection_policy": "One connection more",
    "max_session_hours": "Longest session (hours)",
    "max_rate": "Updates per topic (per second)",
    "bytes_per_second": "Bytes per connection (per second)",
    "data_types": "Data types",
    "symbols": "Symbols",
    "delay_seconds": "Delay (seconds)",
    "commands_per_second": "Commands (per second)",
    "command_burst": "Commands at once, after a pause",
    "requests_per_second": "REST requests (per second)",
    "request_burst": "REST requests at once, after a pause",
    "priority": "Priority under overload",
    "dry_run": "On trial",
}
SECTIONS: list[tuple[str, tuple[str, ...]]] = [
    ("What may be read", ("data_types", "symbols", "delay_seconds")),
    ("Connections", ("topics_per_connection", "connections_per_user", "connection_policy", "max_session_hours")),
    ("Amounts", ("max_rate", "bytes_per_second")),
    ("Commands and requests", ("commands_per_second", "command_burst", "requests_per_second", "request_burst")),
    ("Overload", ("priority",)),
    ("On trial", ("dry_run",)),
]


class PlanForm(forms.ModelForm):  # type: ignore[type-arg]  # Django cannot subscript it
    """A plan, what it chooses among as boxes to tick."""

    data_types = SeveralField(choices=TYPES)
    symbols = SymbolsField(required=False, help_text="Only these, symbols or patterns: AAPL *-USDT *.SH. Empty: all.")
    dry_run = SeveralField(
        choices=TRIALS,
        required=False,
        label=LABELS["dry_run"],
        help_text="These limits refuse nothing; what they would have refused is counted.",
    )

    class Meta:
        model = Plan
        fields = "__all__"
        labels = LABELS

    def clean_name(self) -> str:
        """A name by which the settings do not miss a plan.

        Raises:
            ValidationError: they would.
        """
        name: str = self.cleaned_data["name"]
        if is_default(self.initial.get("name")) and not is_default(name):
            raise forms.ValidationError("TICKWIRE_DEFAULT_PLAN names this plan: change that first.")
        return name


def is_default(name: object) -> bool:
    """Whether users to whom no plan was given have this one."""
    return name == settings.TICKWIRE.serving.default_plan


def _section(title: str, names: tuple[str, ...]) -> Any:
    return (title, {"fields": list(names)})


@admin.register(Plan)
class PlanAdmin(Journaled):
    """What each plan allows, side by side."""

    form = PlanForm
    fieldsets = [
        (None, {"fields": ["name", "enabled"]}),
        *[_section(title, names) for title, names in SECTIONS],
    ]
    list_display = (
        "name", "enabled", "used_by", "different", "topics_per_connection", "connections_per_user", "connection_policy",
        "rate", "commands", "requests", "types", "chosen", "delay_seconds", "priority", "trial",
    )  # fmt: skip
    search_fields = ("name",)

    @admin.display(description="updates per topic per second", ordering="max_rate")
    def rate(self, plan: Plan) -> str:
        """How often a topic comes at most."""
        return "every update" if plan.max_rate is None else f"{plan.max_rate:g}"

    @admin.display(description="commands per second (burst)")
    def commands(self, plan: Plan) -> str:
        """Rate and burst in one column."""
        return f"{plan.commands_per_second:g} ({plan.command_burst})"

    @admin.display(description="requests per second (burst)")
    def requests(self, plan: Plan) -> str:
        """The same of REST."""
        return f"{plan.requests_per_second:g} ({plan.request_burst})"

    @admin.display(description="data types")
    def types(self, plan: Plan) -> str:
        """Data types as a sentence."""
        return "all" if set(plan.data_types) == set(DataType) else ", ".join(plan.data_types)

    @admin.display(description="symbols")
    def chosen(self, plan: Plan) -> str:
        """The first few symbols."""
        return ", ".join(plan.symbols[:3]) + (" …" if len(plan.symbols) > 3 else "") or "all"

    @admin.display(description="on trial")
    def trial(self, plan: Plan) -> str:
        """Limits that only count."""
        return ", ".join(name.replace("_", " ") for name in plan.dry_run) or "–"

    @admin.display(description="accounts", ordering="users")
    def used_by(self, plan: Any) -> SafeString:
        """How many accounts have it, and which."""
        address = f"{reverse('admin:realtime_account_changelist')}?plan__id__exact={plan.pk}"
        return format_html('<a href="{}">{}</a>', address, plan.users)

    @admin.display(description="with overrides", ordering="overriding")
    def different(self, plan: Any) -> int:
        """How many of them have something different."""
        return int(plan.overriding)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        """Plans with the number of their accounts, in one query."""
        plans: QuerySet[Plan] = super().get_queryset(request)
        return plans.annotate(users=Count("accounts"), overriding=Count("accounts", filter=~Q(accounts__overrides={})))

    def has_delete_permission(self, request: HttpRequest, obj: Plan | None = None) -> bool:
        """Whoever may, but nobody the plan of all those to whom none was given."""
        return super().has_delete_permission(request, obj) and not (obj and is_default(obj.name))
