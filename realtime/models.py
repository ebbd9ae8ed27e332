"""Plans, the accounts that have them with what is different for them, API keys, and what users use, at rest."""

from __future__ import annotations

import ipaddress
import re

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from marketdata.topics import DataType

PATTERN = re.compile(r"[A-Z0-9*?][A-Z0-9._*?-]{0,31}")  # a symbol, or several: * is anything, ? one character
MOST_PATTERNS = 1000
ON_TRIAL = (
    "topics", "connections", "max_rate", "commands", "data_types", "symbols", "requests", "bytes_per_second", "session_hours",
)  # fmt: skip


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


def check_symbols(value: object) -> None:
    """Refuse anything but a list of symbols and patterns.

    Raises:
        ValidationError: naming what is wrong.
    """
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValidationError('Give a list of symbols or patterns: ["AAPL", "*-USDT"]; an empty one means all.')
    if len(value) > MOST_PATTERNS:
        raise ValidationError(f"At most {MOST_PATTERNS} of them.")
    if flawed := [item for item in value if not PATTERN.fullmatch(item)]:
        raise ValidationError(f"{flawed[0]!r} is neither a symbol nor a pattern like '*.SH'.")


def check_on_trial(value: object) -> None:
    """Refuse anything but a list of names of limits.

    Raises:
        ValidationError: naming what is wrong.
    """
    if not isinstance(value, list):
        raise ValidationError('Give a list of limits: ["topics"].')
    if unknown := [name for name in value if name not in ON_TRIAL]:
        raise ValidationError(f"There is no limit {unknown[0]!r}; there are {', '.join(ON_TRIAL)}.")


def check_overrides(value: object) -> None:
    """Refuse anything but fields of a plan with values that a plan would take.

    Raises:
        ValidationError: naming the field and what is wrong with it.
    """
    if not isinstance(value, dict):
        raise ValidationError('Give an object of plan fields: {"topics_per_connection": 100}.')
    fields = {field.name: field for field in overridable()}
    for name, given in value.items():
        if name not in fields:
            raise ValidationError(f"A plan has no field {name!r} that could be overridden; there are {', '.join(fields)}.")
        try:
            taken = fields[name].clean(given, None)
        except ValidationError as error:
            raise ValidationError(f"{name}: {' '.join(error.messages)}") from None
        if taken != given or isinstance(given, bool):
            raise ValidationError(f"{name}: {given!r} is not of its type.")


def overridable() -> list[models.Field]:  # type: ignore[type-arg]  # of any type
    """The fields of a plan that an account may have different."""
    return [field for field in Plan._meta.concrete_fields if field.name not in ("id", "name", "enabled")]


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
    symbols = models.JSONField(
        default=list, blank=True, validators=[check_symbols], help_text='Only these, as ["AAPL", "*-USDT"]; empty: all.'
    )
    delay_seconds = models.PositiveIntegerField(
        default=0,
        validators=[MaxValueValidator(86_400)],
        help_text="Nothing younger than that is shown, on any path; 0: real time.",
    )
    max_session_hours = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0.001), MaxValueValidator(10_000)],
        help_text="A connection ends after so long, and may come again; empty: never.",
    )
    bytes_per_second = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1024)],
        help_text="Sent to one connection on average; beyond it values are conflated and trades may be lost, as of a slow one. "
        "Empty: any.",
    )
    dry_run = models.JSONField(
        default=list,
        blank=True,
        validators=[check_on_trial],
        help_text='These limits refuse nothing; what they would have refused is counted: ["topics"].',
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Account(models.Model):
    """Which plan a user has, and what is different for that user."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="account")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="accounts")
    overrides = models.JSONField(
        default=dict,
        blank=True,
        validators=[check_overrides],
        help_text='Fields of the plan that are different for this user, as {"topics_per_connection": 100, "max_rate": null}.',
    )

    def __str__(self) -> str:
        return f"{self.user} on {self.plan}"

    def clean(self) -> None:
        """Refuse what no validator sees: to Django an empty list is no value.

        Raises:
            ValidationError: the overrides are none.
        """
        if not isinstance(self.overrides, dict):
            check_overrides(self.overrides)


def check_network(value: str) -> None:
    """Refuse what is no address or network.

    Raises:
        ValidationError: it is none.
    """
    try:
        ipaddress.ip_network(value)
    except ValueError as error:
        raise ValidationError(f"Give an address or a network like 203.0.113.0/24: {error}.") from None


class Ban(models.Model):
    """A user, or an address or network, that is shut out."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE, related_name="bans")
    network = models.CharField(max_length=50, blank=True, validators=[check_network], help_text="203.0.113.7, or 203.0.113.0/24.")
    until = models.DateTimeField(null=True, blank=True, help_text="Empty: for good.")
    reason = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.user or self.network}"

    def clean(self) -> None:
        """Shut out somebody, and one of the two.

        Raises:
            ValidationError: nobody is named, or a user and a network are.
        """
        if (self.user is None) == (not self.network):
            raise ValidationError("Name either a user or a network.")


class LiveConnection(models.Model):
    """A connection that is open just now. It has no table: the serving processes are asked (`realtime.orders`)."""

    session = models.CharField(max_length=64, primary_key=True)

    class Meta:
        managed = False
        default_permissions = ("view",)
        permissions = [
            ("disconnect", "Can end connections"),
            ("drain", "Can drain serving processes"),
            ("tap", "Can look on at connections and topics"),
        ]

    def __str__(self) -> str:
        return self.session


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


class Usage(models.Model):
    """What a user used on one day, UTC, with one API key or without any. The keys outlive their rows by name."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="usage")
    key = models.CharField("API key", max_length=12, blank=True, default="", help_text="Its prefix; empty: session or token.")
    day = models.DateField()
    connections = models.PositiveBigIntegerField(default=0, help_text="Opened on that day.")
    messages = models.PositiveBigIntegerField(default=0, help_text="Sent on the socket: updates, replies and all others.")
    commands = models.PositiveBigIntegerField(default=0, help_text="Received on the socket.")
    bytes = models.PositiveBigIntegerField(default=0, help_text="Sent on the socket.")
    requests = models.PositiveBigIntegerField("REST requests", default=0, help_text="That were not refused by the plan.")

    class Meta:
        ordering = ["-day", "user", "key"]
        verbose_name_plural = "usage"
        constraints = [models.UniqueConstraint(fields=["user", "key", "day"], name="usage_per_user_key_and_day")]
        indexes = [models.Index(fields=["day"], name="usage_by_day")]

    def __str__(self) -> str:
        return f"{self.user} on {self.day}"
