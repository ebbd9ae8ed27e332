"""Alert rules, who is told, alerts as they happened, every attempt to tell somebody; and how the installation fared."""

from __future__ import annotations

import math
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from monitoring.rules import flaws

DAY_S = 86_400
WEEK_S = 7 * DAY_S
MASK = "••••••"


def check_address(value: str) -> None:
    """Refuse what Apprise cannot send to. The complaint does not repeat the address, which is a secret.

    Raises:
        ValidationError: it is no such address.
    """
    from monitoring.notifying import is_address  # loads Apprise, which only those pay for who use it

    if not is_address(value):
        raise ValidationError("Apprise knows no such address; see docs/operations/alerts.md.")


def check_finite(value: float) -> None:
    """Refuse what JSON cannot say.

    Raises:
        ValidationError: it is not finite.
    """
    if not math.isfinite(value):
        raise ValidationError("Give a finite number.")


class Notifier(models.Model):
    """Somebody, or some channel, that is told of alerts."""

    name = models.SlugField(max_length=64, unique=True)
    url = models.TextField(
        "address",
        max_length=2000,
        validators=[check_address],
        help_text="An Apprise address: mailto://, slack://, json://host/path … It is a secret, and never shown again.",
    )
    enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ["name"]
        permissions = [("test_notifier", "Can send a test message")]

    def __str__(self) -> str:
        return self.name

    @property
    def masked(self) -> str:
        """The kind of address, and that there is more."""
        return f"{self.url.partition('://')[0]}://{MASK}"


class AlertRule(models.Model):
    """What is watched, when that is bad, and who is told."""

    class Comparison(models.TextChoices):
        ABOVE = ">", "above"
        AT_LEAST = ">=", "at least"
        BELOW = "<", "below"
        AT_MOST = "<=", "at most"

    class Aggregation(models.TextChoices):
        MAX = "max", "the highest of all processes"
        MIN = "min", "the lowest of all processes"
        SUM = "sum", "the sum of all processes"
        EACH = "each", "each process by itself"

    class Missing(models.TextChoices):
        HOLD = "hold", "nothing is known: leave it as it is"
        FIRE = "fire", "that is bad"

    class Severity(models.TextChoices):
        CRITICAL = "critical"
        WARNING = "warning"
        INFO = "info"

    name = models.SlugField(max_length=64, unique=True)
    summary = models.CharField(max_length=200, blank=True, help_text="What it means when it fires, in a sentence.")
    metric = models.CharField(
        max_length=100, help_text="One of docs/metrics.md. Of a counter, its increase per second is watched."
    )
    labels = models.JSONField(default=dict, blank=True, help_text='Only samples with these, as {"role": "web"}.')
    aggregation = models.CharField(max_length=4, choices=Aggregation, default=Aggregation.MAX)
    per = models.CharField("divided by", max_length=100, blank=True, help_text="A metric with the same labels; empty: by none.")
    quantile = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(0.01), MaxValueValidator(1.0)], help_text="Of a histogram: 0.99."
    )
    window_seconds = models.PositiveIntegerField(
        default=300,
        validators=[MinValueValidator(10), MaxValueValidator(DAY_S)],
        help_text="Over which counters and histograms are looked at.",
    )
    comparison = models.CharField(max_length=2, choices=Comparison, default=Comparison.ABOVE)
    threshold = models.FloatField(validators=[check_finite])
    for_seconds = models.PositiveIntegerField(
        default=0, validators=[MaxValueValidator(DAY_S)], help_text="It fires when the value was bad for so long."
    )
    clear_seconds = models.PositiveIntegerField(
        default=15, validators=[MaxValueValidator(DAY_S)], help_text="It ends when the value was well for so long."
    )
    missing = models.CharField("without a value", max_length=4, choices=Missing, default=Missing.HOLD)
    severity = models.CharField(max_length=8, choices=Severity, default=Severity.WARNING)
    notifiers = models.ManyToManyField(Notifier, blank=True, related_name="rules", help_text="None: all that are enabled.")
    escalate_seconds = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(10), MaxValueValidator(WEEK_S)],
        help_text="Tell again when it has fired for so long, for twice, four times as long …; empty: never.",
    )
    escalation_notifiers = models.ManyToManyField(
        Notifier, blank=True, related_name="escalations", help_text="Who is told again; none: the same."
    )
    runbook = models.CharField(max_length=300, blank=True, help_text="Address or path of the page that says what to do.")
    enabled = models.BooleanField(default=True)
    silenced_until = models.DateTimeField(null=True, blank=True, help_text="Nobody is told before; empty: it is not silenced.")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse what cannot be watched.

        Raises:
            ValidationError: by field.
        """
        if found := flaws({name: getattr(self, name) for name in ("metric", "labels", "per", "quantile")}):
            raise ValidationError(dict(found))


class Alert(models.Model):
    """One time that a rule was broken, from the first bad value to the end."""

    class State(models.TextChoices):
        PENDING = "pending"
        FIRING = "firing"
        RESOLVED = "resolved"

    rule = models.ForeignKey(AlertRule, null=True, on_delete=models.SET_NULL, related_name="alerts")
    name = models.CharField("rule's name", max_length=64)
    severity = models.CharField(max_length=8, choices=AlertRule.Severity)
    labels = models.JSONField(default=dict)
    key = models.CharField(max_length=300, editable=False)
    state = models.CharField(max_length=8, choices=State)
    since = models.DateTimeField(help_text="When the state began.")
    began_at = models.DateTimeField(db_index=True)
    resolved_at = models.DateTimeField(null=True, db_index=True)
    value = models.FloatField(null=True, help_text="At the last change of state.")
    told = models.BooleanField(default=False)
    escalations = models.PositiveIntegerField(default=0)
    history = models.JSONField(default=list)

    class Meta:
        ordering = ["-began_at", "-pk"]
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(fields=["rule", "key"], condition=models.Q(resolved_at=None), name="one_open_alert")
        ]

    def __str__(self) -> str:
        return f"{self.name} {labels_text(self.labels)}".strip()


class Delivery(models.Model):
    """A message to one notifier, and what came of every attempt to send it."""

    class State(models.TextChoices):
        WAITING = "waiting"
        SENT = "sent"
        FAILED = "failed", "given up"

    class Event(models.TextChoices):
        FIRING = "firing"
        ESCALATED = "escalated"
        RESOLVED = "resolved"
        TEST = "test"

    alert = models.ForeignKey(Alert, null=True, on_delete=models.CASCADE, related_name="deliveries")
    notifier = models.ForeignKey(Notifier, null=True, on_delete=models.SET_NULL, related_name="deliveries")
    name = models.CharField("notifier's name", max_length=64)
    event = models.CharField(max_length=9, choices=Event)
    number = models.PositiveIntegerField(default=0, help_text="Of the escalation.")
    title = models.CharField(max_length=250)
    body = models.TextField()
    state = models.CharField(max_length=7, choices=State, default=State.WAITING)
    attempts = models.JSONField(default=list, help_text="When, how long, and what went wrong.")
    created_at = models.DateTimeField(auto_now_add=True)
    due_at = models.DateTimeField(null=True, db_index=True, help_text="When it is tried, or tried again; empty: no more.")

    class Meta:
        ordering = ["-pk"]
        default_permissions = ("view",)
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(fields=["alert", "notifier", "event", "number"], name="one_delivery_per_event"),
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.name}"


class Turn(models.Model):
    """Whose turn it is to evaluate while Redis, which keeps the leases, is away."""

    name = models.CharField(max_length=32, primary_key=True)
    until = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name


def labels_text(labels: Any) -> str:
    """Labels as a person reads them."""
    return ", ".join(f"{name}={value}" for name, value in dict(labels).items())


class Rollup(models.Model):
    """The overview's series over a second or a minute; see `monitoring.rollups`."""

    step_s = models.PositiveSmallIntegerField()
    at = models.PositiveBigIntegerField(help_text="When it began, seconds since the Unix epoch.")
    values = models.JSONField()

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["step_s", "at"], name="one_rollup_per_moment")]

    def __str__(self) -> str:
        return f"{self.step_s} s from {self.at}"
