"""Alert rules in the admin: what is watched, when that is bad, who is told; and silence."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from marketdata.admin.journal import Journaled
from marketdata.journal import change_all
from monitoring.metrics import METRICS
from monitoring.models import Alert, AlertRule
from monitoring.notices import number_text

_KINDS = {"gauge": "", "counter": " (per second)", "histogram": " (a quantile)"}


class RuleForm(forms.ModelForm):  # type: ignore[type-arg]  # Django cannot subscript it
    """A rule; its metric is chosen from those that there are."""

    metric = forms.ChoiceField(
        choices=[(name, name + _KINDS[metric.kind]) for name, metric in METRICS.items()],
        help_text="docs/metrics.md tells of each, with its unit.",
    )
    per = forms.ChoiceField(
        required=False,
        label="Divided by",
        choices=[("", "nothing"), *((name, name) for name in METRICS)],
        help_text="Another metric of the same labels, for shares.",
    )

    class Meta:
        model = AlertRule
        fields = "__all__"
        help_texts = {
            "severity": "Critical: wake somebody. Warning: look today. Info: for the record.",
            "aggregation": "How the values of all processes are put together.",
            "threshold": "In the metric's unit; of a counter, per second.",
            "missing": "What it means that nobody reports the metric.",
            "silenced_until": "UTC. Nobody is told before; empty: it is not silenced.",
        }
        widgets = {"labels": forms.Textarea(attrs={"rows": 2}), "summary": forms.TextInput(attrs={"size": 80})}


@admin.register(AlertRule)
class AlertRuleAdmin(Journaled):
    """What is watched."""

    form = RuleForm
    list_display = ("name", "severity", "watched", "waits", "firing", "silence", "enabled")
    list_filter = ("severity", "enabled")
    search_fields = ("name", "summary", "metric")
    filter_horizontal = ("notifiers", "escalation_notifiers")
    actions = ("enable", "disable", "silence_hour", "silence_day", "end_silence")
    fieldsets = (
        (None, {"fields": ("name", "summary", "severity", "enabled", "runbook")}),
        ("What is watched", {"fields": ("metric", "labels", "aggregation", "per", "quantile", "window_seconds")}),
        ("When that is bad", {"fields": (("comparison", "threshold"), "for_seconds", "clear_seconds", "missing")}),
        ("Who is told", {"fields": ("notifiers", "escalate_seconds", "escalation_notifiers", "silenced_until")}),
    )

    @admin.display(description="bad when")
    def watched(self, rule: AlertRule) -> str:
        """Metric and threshold."""
        per = f" / {rule.per}" if rule.per else ""
        return f"{rule.metric}{per} {rule.comparison} {number_text(rule.threshold)}"

    @admin.display(description="for", ordering="for_seconds")
    def waits(self, rule: AlertRule) -> str:
        """How long it must be bad."""
        return f"{rule.for_seconds}\N{NO-BREAK SPACE}s"

    def get_queryset(self, request: HttpRequest) -> QuerySet[AlertRule]:
        """Rules with the number of their alerts that fire, in one query."""
        rules: QuerySet[AlertRule] = super().get_queryset(request)
        return rules.annotate(fires=Count("alerts", filter=Q(alerts__state=Alert.State.FIRING)))

    @admin.display(description="fires", ordering="fires")
    def firing(self, rule: Any) -> SafeString | str:
        """How many of its alerts fire now."""
        address = f"../alert/?state__exact=firing&rule__id__exact={rule.pk}"
        return format_html('<a href="{}">{}</a>', address, rule.fires) if rule.fires else "–"

    @admin.display(description="silent until (UTC)", ordering="silenced_until")
    def silence(self, rule: AlertRule) -> str:
        """While it lasts."""
        until = rule.silenced_until
        return f"{until:%Y-%m-%d %H:%M}" if until and until > timezone.now() else "–"

    def _set(self, request: HttpRequest, rules: QuerySet[AlertRule], action: str, **values: Any) -> None:
        self.message_user(request, f"{change_all(rules, action, **values)} changed.")

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, rules: QuerySet[AlertRule]) -> None:
        """Evaluate them."""
        self._set(request, rules, "enable", enabled=True)

    @admin.action(description="Disable: their alerts end", permissions=["change"])
    def disable(self, request: HttpRequest, rules: QuerySet[AlertRule]) -> None:
        """Evaluate them no more."""
        self._set(request, rules, "disable", enabled=False)

    @admin.action(description="Silence for an hour", permissions=["change"])
    def silence_hour(self, request: HttpRequest, rules: QuerySet[AlertRule]) -> None:
        """Tell nobody meanwhile."""
        self._set(request, rules, "silence", silenced_until=timezone.now() + timedelta(hours=1))

    @admin.action(description="Silence for a day", permissions=["change"])
    def silence_day(self, request: HttpRequest, rules: QuerySet[AlertRule]) -> None:
        """Tell nobody meanwhile."""
        self._set(request, rules, "silence", silenced_until=timezone.now() + timedelta(days=1))

    @admin.action(description="End the silence", permissions=["change"])
    def end_silence(self, request: HttpRequest, rules: QuerySet[AlertRule]) -> None:
        """Tell of what fires, from the next evaluation on."""
        self._set(request, rules, "end silence", silenced_until=None)
