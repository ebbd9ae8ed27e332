"""Accounts in the admin: a user's plan, and what is different for that user, field by field."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest
from django.utils.safestring import SafeString

from marketdata.admin.journal import Journaled
from realtime.admin.effective import NOTHING, limit, shown, table
from realtime.admin.fields import TRIALS, TYPES, SeveralField, SymbolsField
from realtime.admin.plans import LABELS, SECTIONS
from realtime.limits import Limits
from realtime.models import Account, ConnectionPolicy, check_overrides, overridable

AS_PLANNED = "as the plan says"
OWN = "own_"  # before a plan field's name: the user's own value
WITHOUT = "without_"  # before it: the user has no such limit


class OverridesForm(forms.ModelForm):  # type: ignore[type-arg]  # Django cannot subscript it
    """An account; `AccountForm` adds the fields for each override."""

    class Meta:
        model = Account
        fields = ("user", "plan")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is None:
            return
        planned = Limits.of(self.instance.plan)
        for name in LABELS:
            if own := self.fields.get(OWN + name):
                own.help_text = f"Plan: {shown(name, limit(planned, name))}."
        for name, value in self.instance.overrides.items():
            self.initial.update({WITHOUT + name: True} if value in (None, []) else {OWN + name: value})

    def clean(self) -> dict[str, Any]:
        """Collect the overrides; what is wrong with one is said at its field."""
        cleaned = super().clean() or self.cleaned_data
        overrides = {}
        for field in overridable():
            own, without = cleaned.get(OWN + field.name), cleaned.get(WITHOUT + field.name)
            is_given = own not in (None, "", [])
            if without and is_given:
                self.add_error(OWN + field.name, f"Give a value or tick “{NOTHING[field.name]}”, not both.")
            elif without or is_given:
                value = own if is_given else _nothing(field)
                self._check(field.name, value)
                overrides[field.name] = value
        self.instance.overrides = overrides
        return cleaned

    def _check(self, name: str, value: Any) -> None:
        try:
            check_overrides({name: value})
        except ValidationError as error:
            self.add_error(OWN + name, error.messages[0].removeprefix(f"{name}: "))


def _nothing(field: models.Field[Any, Any]) -> Any:
    return None if field.null else []


def _own(field: models.Field[Any, Any]) -> forms.Field:
    """A form field for a user's own value; empty: as the plan says."""
    options: dict[str, Any] = {"required": False, "label": LABELS[field.name]}
    if field.name == "data_types":
        return SeveralField(choices=TYPES, **options)
    if field.name == "dry_run":
        return SeveralField(choices=TRIALS, **options)
    if field.name == "symbols":
        return SymbolsField(**options)
    if field.choices:
        return forms.ChoiceField(choices=[("", AS_PLANNED), *ConnectionPolicy.choices], **options)
    kind = forms.FloatField if isinstance(field, models.FloatField) else forms.IntegerField
    return kind(validators=field.validators, widget=forms.NumberInput(attrs={"placeholder": AS_PLANNED}), **options)


def _fields() -> dict[str, forms.Field]:
    made: dict[str, forms.Field] = {}
    for field in overridable():
        made[OWN + field.name] = _own(field)
        if field.name in NOTHING:
            made[WITHOUT + field.name] = forms.BooleanField(required=False, label=NOTHING[field.name])
    return made


AccountForm = cast(type[OverridesForm], type("AccountForm", (OverridesForm,), _fields()))


def _row(name: str) -> Any:
    return (OWN + name, WITHOUT + name) if name in NOTHING else OWN + name


@admin.register(Account)
class AccountAdmin(Journaled):
    """Which user has which plan."""

    form = AccountForm
    list_display = ("user", "plan", "different")
    list_filter = ("plan",)
    list_select_related = ("user", "plan")
    search_fields = ("user__username", "user__email")
    autocomplete_fields = ("user",)
    readonly_fields = ("effective",)

    def get_fieldsets(self, request: HttpRequest, obj: Account | None = None) -> Any:
        """The plan and what comes of it; for those who may change it, what is different for the user as well."""
        whole = (None, {"fields": ["user", "plan", "effective"]})
        if not self.has_change_permission(request, obj):
            return [whole]
        return [
            whole,
            *((f"Different: {title.lower()}", {"fields": [_row(name) for name in names]}) for title, names in SECTIONS),
        ]

    @admin.display(description="different")
    def different(self, account: Account) -> str:
        """What the plan does not decide."""
        return ", ".join(LABELS[name] for name in account.overrides if name in LABELS) or "–"

    @admin.display(description="effective limits")
    def effective(self, account: Account) -> SafeString | str:
        """What the user may do."""
        return "Choose a plan and save." if account.pk is None else table(account.plan, account.overrides)
