"""Form fields for what a plan chooses among."""

from __future__ import annotations

from typing import Any

from django import forms

from marketdata.topics import DataType
from realtime.models import ON_TRIAL

TYPES = [(kind.value, kind.value) for kind in DataType]
TRIALS = [(name, name.replace("_", " ")) for name in ON_TRIAL]


class SymbolsField(forms.CharField):
    """Symbols and patterns, apart by spaces, commas or lines."""

    widget = forms.Textarea(attrs={"rows": 3})

    def prepare_value(self, value: Any) -> Any:
        """A list as text."""
        return " ".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        """Text as a list."""
        return (super().to_python(value) or "").upper().replace(",", " ").split()


class SeveralField(forms.MultipleChoiceField):
    """Boxes to tick."""

    widget = forms.CheckboxSelectMultiple
