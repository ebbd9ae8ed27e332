"""Bans in the admin."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone

from marketdata.admin.journal import Journaled
from realtime.models import Ban


class BanForm(forms.ModelForm):  # type: ignore[type-arg]  # Django cannot subscript it
    """A ban; its end is in the zone that the admin shows."""

    class Meta:
        model = Ban
        fields = ("user", "network", "until", "reason")
        help_texts = {"until": "UTC. Empty: for good."}


@admin.register(Ban)
class BanAdmin(Journaled):
    """Who is shut out, and until when; deleting a ban lifts it."""

    form = BanForm
    list_display = ("whom", "in_force", "until", "reason", "created_at")
    list_select_related = ("user",)
    search_fields = ("user__username", "network", "reason")
    autocomplete_fields = ("user",)
    fields = ("user", "network", "until", "reason")

    @admin.display(description="whom")
    def whom(self, ban: Ban) -> str:
        """A user, or a network."""
        return str(ban)

    @admin.display(description="in force", boolean=True)
    def in_force(self, ban: Ban) -> bool:
        """Whether it still counts."""
        return ban.until is None or ban.until > timezone.now()

    def get_readonly_fields(self, request: HttpRequest, obj: Ban | None = None) -> Any:  # noqa: ARG002
        """Whom a ban is about does not change: lift it, and make another."""
        return () if obj is None else ("user", "network")
