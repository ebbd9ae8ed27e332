"""Notifiers in the admin: their addresses are written and never shown, and a test message tells whether they are right."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST

from marketdata import journal
from marketdata.admin.journal import Journaled
from monitoring.deliveries import outgoing
from monitoring.models import Notifier


class NotifierForm(forms.ModelForm):  # type: ignore[type-arg]  # Django cannot subscript it
    """A notifier. Of one that exists the address is left empty to stay as it is."""

    class Meta:
        model = Notifier
        fields = ("name", "url", "enabled")
        widgets = {"url": forms.PasswordInput(attrs={"size": 80, "autocomplete": "off"})}  # which never renders a value

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None and "url" in self.fields:
            self.fields["url"].required = False
            self.fields["url"].help_text = f"Now {self.instance.masked}. Leave it empty to keep it."

    def clean_url(self) -> str:
        """The new address, or the one that it has."""
        given: str = self.cleaned_data["url"]
        return given or self.instance.url


@admin.register(Notifier)
class NotifierAdmin(Journaled):
    """Who is told."""

    form = NotifierForm
    list_display = ("name", "address", "enabled")
    readonly_fields = ("address",)
    search_fields = ("name",)
    actions = ("send_tests",)
    change_form_template = "admin/monitoring/notifier/change_form.html"

    def get_fields(self, request: HttpRequest, obj: Notifier | None = None) -> Any:
        """Who may not write the address does not see its field."""
        writes = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        return ("name", "url", "enabled") if writes else ("name", "address", "enabled")

    @admin.display(description="address")
    def address(self, notifier: Notifier) -> str:
        """Its kind."""
        return notifier.masked

    def get_urls(self) -> list[URLPattern]:
        """The button's address too."""
        test = path("<int:pk>/test/", self.admin_site.admin_view(require_POST(self._test)), name="monitoring_notifier_test")
        return [test, *super().get_urls()]

    def has_test_permission(self, request: HttpRequest) -> bool:
        """Whether a test message may be sent."""
        return request.user.has_perm("monitoring.test_notifier")

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """With the button, for those who may press it."""
        return super().render_change_form(request, context | {"may_test": self.has_test_permission(request)}, *args, **kwargs)

    def _test(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Send a test message, and go back.

        Raises:
            PermissionDenied: who asks may not.
        """
        if not self.has_test_permission(request):
            raise PermissionDenied
        self._send(request, get_object_or_404(Notifier, pk=pk))
        return redirect(reverse("admin:monitoring_notifier_change", args=[pk]))

    @admin.action(description="Send a test message", permissions=["test"])
    def send_tests(self, request: HttpRequest, notifiers: QuerySet[Notifier]) -> None:
        """To each of them."""
        for notifier in notifiers:
            self._send(request, notifier)

    def _send(self, request: HttpRequest, notifier: Notifier) -> None:
        journal.note("test", "notifier", notifier.name, key=notifier.pk)
        if error := outgoing.test(notifier):
            self.message_user(request, f"The test message was not taken: {notifier}: {error}", messages.ERROR)
        else:
            self.message_user(request, f"The test message was taken: {notifier}.", messages.SUCCESS)
