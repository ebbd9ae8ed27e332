"""Alert rules and notifiers in REST: what may be written, and what is shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from django.core.exceptions import ValidationError
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from monitoring.models import AlertRule, Notifier

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LAST_US = 253_402_300_799_999_999
Time = Annotated[int, msgspec.Meta(description="µs since the Unix epoch")]


def us(time: datetime) -> int:
    """A time as the API has it."""
    return (time - _EPOCH) // _MICROSECOND


@extend_schema_field({"type": "integer", "description": "µs since the Unix epoch"})
class Microseconds(serializers.IntegerField):
    """A time in µs since the Unix epoch."""

    def to_internal_value(self, data: Any) -> Any:
        """As Django has it."""
        given = super().to_internal_value(data)
        if not 0 <= given <= _LAST_US:
            raise serializers.ValidationError("Give µs since the Unix epoch.")
        return _EPOCH + given * _MICROSECOND

    def to_representation(self, value: Any) -> int:
        """As the API has it."""
        return us(value)


_TYPES: tuple[tuple[Any, tuple[type, ...], str], ...] = (  # the first that a field is decides
    (serializers.BooleanField, (bool,), "true or false"),
    (serializers.IntegerField, (int,), "a whole number"),
    (serializers.FloatField, (int, float), "a number"),
    (serializers.CharField, (str,), "a text"),
    (serializers.ManyRelatedField, (list,), "a list of names"),
)


class _Whole(serializers.ModelSerializer):  # type: ignore[type-arg]  # Django REST framework cannot subscript it
    """Checks a row as the admin does, and refuses fields that do not exist or are not of their type: `"5"` is no number."""

    def to_internal_value(self, data: Any) -> Any:
        """What was given, once each field is of its type."""
        if wrong := {name: [f"Give {what}."] for name, value in data.items() if (what := _lacks(self.fields.get(name), value))}:
            raise serializers.ValidationError(wrong)
        return super().to_internal_value(data)

    def validate(self, attrs: Any) -> Any:
        """What is wrong, by field."""
        if unknown := set(self.initial_data) - set(self.fields):
            raise serializers.ValidationError(dict.fromkeys(unknown, "There is no such field."))
        model: Any = self.Meta.model
        many = {field.name for field in model._meta.many_to_many}
        before = {} if self.instance is None else {field.name: getattr(self.instance, field.name) for field in model._meta.fields}
        row = model(**(before | {name: value for name, value in attrs.items() if name not in many}))
        row._state.adding = self.instance is None
        try:
            row.full_clean()
        except ValidationError as error:
            raise serializers.ValidationError(error.message_dict) from None
        return attrs


def _lacks(field: Any, value: Any) -> str:
    """Of which type a value should be, and is not; empty: it is, or something else will be said of it."""
    for kind, types, what in _TYPES:
        if isinstance(field, kind):
            fits = isinstance(value, types) and (bool in types or not isinstance(value, bool))
            return "" if fits or value is None else what
    return ""


def _notifiers() -> serializers.SlugRelatedField[Notifier]:
    return serializers.SlugRelatedField(slug_field="name", queryset=Notifier.objects.all(), many=True, required=False)


class RuleSerializer(_Whole):
    """An alert rule. Notifiers go by their names."""

    notifiers = _notifiers()
    escalation_notifiers = _notifiers()
    silenced_until = Microseconds(required=False, allow_null=True)

    class Meta:
        model = AlertRule
        fields = (
            "id", "name", "summary", "metric", "labels", "aggregation", "per", "quantile", "window_seconds", "comparison",
            "threshold", "for_seconds", "clear_seconds", "missing", "severity", "notifiers", "escalate_seconds",
            "escalation_notifiers", "runbook", "enabled", "silenced_until",
        )  # fmt: skip


class NotifierSerializer(_Whole):
    """A notifier. Its address is written, and never read: `address` says only of which kind it is."""

    address = serializers.CharField(source="masked", read_only=True)

    class Meta:
        model = Notifier
        fields = ("id", "name", "url", "address", "enabled")
        extra_kwargs = {"url": {"write_only": True}}


class Change(msgspec.Struct, frozen=True):
    """An alert changed its state."""

    state: str
    at: Time
    value: float | None


class Attempt(msgspec.Struct, frozen=True):
    """A message was tried to be sent. `error` is empty where it was."""

    at: Time
    took_ms: int
    error: str


class Told(msgspec.Struct, frozen=True):
    """A message to one notifier."""

    notifier: str
    event: str
    state: str
    attempts: list[Attempt]


class AlertShown(msgspec.Struct, frozen=True, kw_only=True):
    """One time that a rule was broken."""

    id: int
    rule: str
    severity: str
    labels: dict[str, str]
    state: str
    since: Time
    began_at: Time
    resolved_at: Time | None
    value: float | None
    escalations: int
    runbook: str
    history: list[Change]
    told: list[Told]


class Alerts(msgspec.Struct, frozen=True):
    """Alerts, the newest first."""

    alerts: list[AlertShown]


class Tested(msgspec.Struct, frozen=True):
    """Whether a test message was sent; `error` says why not, without the address."""

    ok: bool
    error: str
