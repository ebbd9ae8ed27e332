"""Users and groups in the admin: Django's own pages, with what Tickwire knows of a user."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from marketdata.admin.journal import Journaled
from realtime.admin.effective import table
from realtime.admin.plans import is_default
from realtime.models import Account, Plan

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(Journaled, DjangoUserAdmin):  # type: ignore[type-arg]  # Django cannot subscript it
    """Users, with their plan and what they may do in effect."""

    list_display = ("username", "email", "plan", "is_active", "is_staff", "last_login")
    list_filter = ("is_staff", "is_superuser", "is_active", "groups", "account__plan")
    list_select_related = ("account__plan",)

    @admin.display(description="plan", ordering="account__plan__name")
    def plan(self, user: User) -> str:
        """The plan that was given, if one was."""
        account = _account(user)
        return account.plan.name if account else "–"

    @admin.display(description="account")
    def leads_to(self, user: User) -> SafeString:
        """Where plan and overrides are edited, and the user's keys."""
        account = _account(user)
        if account:
            address, text = reverse("admin:realtime_account_change", args=[account.pk]), f"on plan {account.plan}"
        else:
            address, text = f"{reverse('admin:realtime_account_add')}?user={user.pk}", "none; give a plan"
        keys = f"{reverse('admin:realtime_apikey_changelist')}?user__id__exact={user.pk}"
        return format_html('<a href="{}">{}</a> · <a href="{}">API keys</a>', address, text, keys)

    @admin.display(description="effective limits")
    def effective(self, user: User) -> SafeString | str:
        """What the user may do, by the plan that was given or by the one that all have."""
        account = _account(user)
        plan = account.plan if account else next(filter(is_default_plan, Plan.objects.filter(enabled=True)), None)
        return table(plan, account.overrides if account else {}) if plan else "No plan, so nothing."

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Django's, with ours after it."""
        ours = [] if obj is None else [("Market data", {"fields": ("leads_to", "effective")})]
        return [*super().get_fieldsets(request, obj), *ours]

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Django's and ours."""
        return [*super().get_readonly_fields(request, obj), "leads_to", "effective", "last_login", "date_joined"]


@admin.register(Group)
class GroupAdmin(Journaled, DjangoGroupAdmin):
    """Groups; the three roles are among them."""


def is_default_plan(plan: Plan) -> bool:
    """Whether users to whom no plan was given have this one."""
    return is_default(plan.name)


def _account(user: User) -> Account | None:
    return getattr(user, "account", None)
