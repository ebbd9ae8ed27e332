"""Plans, accounts and API keys in the admin."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from marketdata.topics import DataType
from realtime.keys import revoke
from realtime.models import ON_TRIAL, Account, ApiKey, Plan


class SymbolsField(forms.CharField):
    """Symbols and patterns, apart by spaces, commas or lines."""

    widget = forms.Textarea(attrs={"rows": 3})

    def prepare_value(self, value: Any) -> Any:
        """A list as text."""
        return " ".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        """Text as a list."""
        return (super().to_python(value) or "").upper().replace(",", " ").split()


class PlanForm(forms.ModelForm):  # type: ignore[type-arg]  # Django cannot subscript it
    """A plan, what it chooses among as boxes to tick."""

    data_types = forms.MultipleChoiceField(
        choices=[(kind.value, kind.value) for kind in DataType], widget=forms.CheckboxSelectMultiple
    )
    symbols = SymbolsField(required=False, help_text="Only these, symbols or patterns: AAPL *-USDT *.SH. Empty: all.")
    dry_run = forms.MultipleChoiceField(
        choices=[(name, name.replace("_", " ")) for name in ON_TRIAL],
        widget=forms.CheckboxSelectMultiple,
        required=False,
        label="On trial",
        help_text="These limits refuse nothing; what they would have refused is counted.",
    )

    class Meta:
        model = Plan
        fields = "__all__"


@admin.register(Plan)
class PlanAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # Django cannot subscript it
    """What each plan allows, side by side."""

    form = PlanForm
    list_display = (
        "name", "enabled", "priority", "topics_per_connection", "connections_per_user", "connection_policy", "max_rate",
        "commands", "requests", "types", "used_by",
    )  # fmt: skip
    search_fields = ("name",)

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

    @admin.display(description="accounts", ordering="users")
    def used_by(self, plan: Any) -> int:
        """How many accounts have it."""
        return int(plan.users)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        """Plans with the number of their accounts, in one query."""
        plans: QuerySet[Plan] = super().get_queryset(request)
        return plans.annotate(users=Count("accounts"))


@admin.register(Account)
class AccountAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # Django cannot subscript it
    """Which user has which plan."""

    list_display = ("user", "plan")
    list_filter = ("plan",)
    list_select_related = ("user", "plan")
    search_fields = ("user__username", "user__email")
    autocomplete_fields = ("user",)


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # Django cannot subscript it
    """Keys that exist. New ones come from `manage.py issue_key`, which shows the secret once; here nobody sees it."""

    list_display = (
        "prefix", "name", "user", "can_publish", "is_staff", "created_at", "expires_at", "last_used_at", "revoked_at",
    )  # fmt: skip
    list_filter = ("can_publish", "is_staff", ("revoked_at", admin.EmptyFieldListFilter))
    list_select_related = ("user",)
    search_fields = ("prefix", "name", "user__username")
    date_hierarchy = "created_at"
    fields = (
        "prefix", "name", "user", "can_publish", "is_staff", "created_at", "expires_at", "last_used_at", "revoked_at",
    )  # fmt: skip
    readonly_fields = ("prefix", "user", "created_at", "last_used_at", "revoked_at")
    actions = ("revoke",)

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Nobody: a form could not show the secret."""
        return False

    @admin.action(description="Revoke the selected keys")
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        """End keys for good."""
        self.message_user(request, f"{revoke(keys)} revoked. Connections that use them are refused from now on.")
