"""API keys in the admin: made, looked at, revoked."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from marketdata.admin.journal import Journaled
from realtime.keys import create_key, revoke
from realtime.models import ApiKey
from realtime.rights import PUBLISH


class KeyForm(forms.ModelForm):  # type: ignore[type-arg]  # Django cannot subscript it
    """A key, which may no more than its user."""

    class Meta:
        model = ApiKey
        fields = ("user", "name", "can_publish", "is_staff", "expires_at")
        help_texts = {"expires_at": "UTC. Empty: it does not end by itself.", "can_publish": "If its user may."}

    def clean(self) -> dict[str, Any]:
        """Refuse what the key's user may not, and an end that is past."""
        cleaned = super().clean() or self.cleaned_data
        user = cleaned.get("user") or (self.instance.user if self.instance.pk else None)
        if user is None:
            return cleaned
        if self.instance.pk is None and not user.is_active:
            self.add_error("user", "This user is disabled, so the key would not work.")
        if cleaned.get("can_publish") and not user.has_perm(PUBLISH):
            self.add_error("can_publish", f"{user} may not publish, so a key of {user} may not either.")
        if cleaned.get("is_staff") and not user.is_staff:
            self.add_error("is_staff", f"{user} is not staff, so a key of {user} is not either.")
        ends = cleaned.get("expires_at")
        if "expires_at" in self.changed_data and ends is not None and ends <= timezone.now():
            self.add_error("expires_at", "That is past. To end a key now, revoke it.")
        return cleaned


class StateFilter(admin.SimpleListFilter):
    """Keys that work and keys that do not any more."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        """What there is to choose."""
        return [("living", "living"), ("ended", "ended")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:  # noqa: ARG002
        """Those that were chosen."""
        ended = Q(revoked_at__isnull=False) | Q(expires_at__lte=timezone.now()) | Q(user__is_active=False)
        if self.value() == "living":
            return queryset.exclude(ended)
        return queryset.filter(ended) if self.value() == "ended" else queryset


@admin.register(ApiKey)
class ApiKeyAdmin(Journaled):
    """Keys that exist. The secret of a new one is on the page that follows, and nowhere else."""

    form = KeyForm
    list_display = (
        "prefix", "name", "user", "state", "can_publish", "is_staff", "created_at", "expires_at", "last_used_at",
    )  # fmt: skip
    list_filter = (StateFilter, "can_publish", "is_staff")
    list_select_related = ("user",)
    search_fields = ("prefix", "name", "user__username")
    date_hierarchy = "created_at"
    autocomplete_fields = ("user",)
    fields = (
        "prefix", "name", "user", "can_publish", "is_staff", "created_at", "expires_at", "last_used_at", "revoked_at",
    )  # fmt: skip
    readonly_fields = ("prefix", "user", "created_at", "last_used_at", "revoked_at")
    actions = ("revoke",)

    class Media:
        js = ("admin/confirm.js",)

    @admin.display(description="state")
    def state(self, key: ApiKey) -> str:
        """Whether it works."""
        if key.revoked_at is not None:
            return f"revoked {key.revoked_at:%Y-%m-%d %H:%M} UTC"
        if key.expires_at is not None and key.expires_at <= timezone.now():
            return "expired"
        return "living" if key.user.is_active else "user disabled"

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        """Of a key that does not exist yet, what may be chosen."""
        return KeyForm.Meta.fields if obj is None else super().get_fields(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        """Of a key that does not exist yet, none."""
        return () if obj is None else super().get_readonly_fields(request, obj)

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        """Save a key; a new one is made like all others, and its secret kept for the answer to this request."""
        if change:
            return super().save_model(request, obj, form, change)
        chosen = {name: form.cleaned_data[name] for name in KeyForm.Meta.fields}
        row, request.made_key = create_key(**chosen)  # type: ignore[attr-defined]
        obj.pk, obj.prefix = row.pk, row.prefix
        return None

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:  # noqa: ARG002
        """Show the secret: in the answer itself, so that neither session nor cookie ever has it."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "A new API key",
            "key": request.made_key,  # type: ignore[attr-defined]
            "row": obj,
        }
        answer = TemplateResponse(request, "admin/realtime/apikey/made.html", context)
        answer["Cache-Control"] = "no-store"
        return answer

    @admin.action(description="Revoke the selected keys", permissions=["change"])
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        """End keys for good."""
        self.message_user(request, f"{revoke(keys)} revoked. Connections that use them are refused from now on.")
