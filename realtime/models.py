"""Plans, the accounts that have them, and API keys at rest."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models

from marketdata.topics import DataType


def all_types() -> list[str]:
    """Every data type, the default of a plan."""
    return [kind.value for kind in DataType]


def check_types(value: object) -> None:
    """Refuse anything but a list of one or more data types.

    Raises:
        ValidationError: naming what is wrong.
    """
    if not isinstance(value, list) or not value:
        raise ValidationError("Name at least one data type.")
    unknown = [kind for kind in value if kind not in all_types()]
    if unknown:
        raise ValidationError(f"There is no data type {unknown[0]!r}; there are {', '.join(all_types())}.")


class ConnectionPolicy(models.TextChoices):
    """What becomes of one connection more than a plan allows."""

    REJECT = "reject", "the new one is refused"
    TAKE_OVER = "take_over", "the oldest one ends"


class Plan(models.Model):
    """What those who have it may do."""

    name = models.SlugField(max_length=32, unique=True)
    enabled = models.BooleanField(default=True)
    topics_per_connection = models.PositiveIntegerField(default=50, validators=[MinValueValidator(1)])
    connections_per_user = models.PositiveIntegerField(
        default=2, validators=[MinValueValidator(1)], help_text="Anonymous: per address."
    )
    max_rate = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0.01)],
        help_text="Updates per second per topic; empty: every update.",
    )
    commands_per_second = models.FloatField(default=10, validators=[MinValueValidator(0.1)])
    command_burst = models.PositiveIntegerField(default=40, validators=[MinValueValidator(1)])
    data_types = models.JSONField(default=all_types, validators=[check_types])
    priority = models.PositiveSmallIntegerField(
        default=10, help_text="Under overload the lowest is refused first and let go first. Staff is always served."
    )
    requests_per_second = models.FloatField(
        default=20, validators=[MinValueValidator(0.1)], help_text="REST, in each serving process; visitors: per address."
    )
    request_burst = models.PositiveIntegerField(default=80, validators=[MinValueValidator(1)])
    connection_policy = models.CharField(
        max_length=16,
        choices=ConnectionPolicy.choices,
        default=ConnectionPolicy.REJECT,
        help_text="Where there would be more connections than allowed.",
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Account(models.Model):
    """Which plan a user has."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="account")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="accounts")

    def __str__(self) -> str:
        return f"{self.user} on {self.plan}"


class ApiKey(models.Model):
    """A credential for programs. Only a hash of the secret is kept; the prefix finds the row."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=64, blank=True)
    prefix = models.CharField(max_length=12, unique=True, editable=False)
    hash = models.CharField(max_length=64, editable=False)
    can_publish = models.BooleanField(default=False)
    is_staff = models.BooleanField(default=False, help_text="May use the staff endpoints, if its user is staff as well.")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "API key"
        permissions = [("publish", "Can make keys that publish ticks")]

    def __str__(self) -> str:
        return f"{self.prefix}… ({self.user})"
