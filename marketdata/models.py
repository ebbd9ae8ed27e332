"""Instruments, feeds, closed bars and the audit log at rest."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models

from marketdata.topics import SYMBOL, Interval


class Instrument(models.Model):
    """Something that is traded, and what a reader must know to show its prices."""

    class Kind(models.TextChoices):
        STOCK = "stock"
        CRYPTO = "crypto"
        INDEX = "index"
        FUND = "fund"
        FUTURE = "future"

    class Session(models.TextChoices):
        ALWAYS = "always", "around the clock"
        US = "us", "New York, 09:30–16:00"
        CN = "cn", "Shanghai, 09:30–11:30 and 13:00–15:00"

    symbol = models.CharField(max_length=32, unique=True, validators=[RegexValidator(rf"^{SYMBOL.pattern}$")])
    name = models.CharField(max_length=100, blank=True)
    kind = models.CharField(max_length=10, choices=Kind)
    venue = models.CharField(max_length=20, blank=True)
    currency = models.CharField(max_length=10, default="USD")
    price_decimals = models.PositiveSmallIntegerField(default=2)
    size_decimals = models.PositiveSmallIntegerField(default=0)
    session = models.CharField(max_length=10, choices=Session, default=Session.ALWAYS)
    simulated = models.BooleanField(default=False, help_text="Its values are made by a simulator, and every page says so.")
    active = models.BooleanField(default=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["symbol"]

    def __str__(self) -> str:
        return self.symbol


class Feed(models.Model):
    """One feed of `TICKWIRE_FEEDS` as the operator runs it."""

    name = models.SlugField(max_length=32, unique=True)
    kind = models.CharField(max_length=20)
    enabled = models.BooleanField(default=True)
    interval_ms = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(50)],
        help_text="Pause between polls; empty: the feed's own. Ignored by feeds that stream.",
    )
    symbols = models.JSONField(default=list, blank=True, help_text='Only these, as ["AAPL"]; empty: all.')
    options = models.JSONField(default=dict, blank=True, help_text="The kind's own options; see docs/feeds.md.")
    standby_for = models.SlugField(
        max_length=32,
        null=True,  # no name is not an empty name
        blank=True,
        help_text="Name of the feed that this one stands in for when that is not well; empty: it is on its own.",
    )
    hold_s = models.PositiveIntegerField(
        "hold (s)",
        default=30,
        validators=[MaxValueValidator(86_400)],
        help_text="How long the feed must be well again before it takes back from a standby.",
    )
    most_per_s = models.PositiveIntegerField(
        "most per second",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(1_000_000)],
        help_text="Ticks per second beyond which is conflated and shed; empty: TICKWIRE_FEED_TICKS_PER_SECOND.",
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Kline(models.Model):
    """A closed bar. Decimals are text, as on the wire, so that REST gives back the digits that were sent."""

    symbol = models.CharField(max_length=32)
    interval = models.CharField(max_length=3, choices=[(interval.value, interval.value) for interval in Interval])
    open_time = models.BigIntegerField(help_text="µs since the Unix epoch, UTC")
    open = models.CharField(max_length=50)
    high = models.CharField(max_length=50)
    low = models.CharField(max_length=50)
    close = models.CharField(max_length=50)
    volume = models.CharField(max_length=50)
    turnover = models.CharField(max_length=50)
    trades = models.PositiveIntegerField()
    revision = models.PositiveIntegerField(default=0)
    ts = models.BigIntegerField(help_text="event time of the bar's last change, µs")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["symbol", "interval", "open_time"], name="one_kline_per_open_time")]

    def __str__(self) -> str:
        return f"{self.symbol} {self.interval} {self.open_time}"


class JournalEntry(models.Model):
    """One thing that somebody did. It refers to no other row, so that nothing that happens later changes it."""

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    user_id = models.BigIntegerField(null=True, db_index=True)
    who = models.CharField(max_length=150)
    address = models.CharField(max_length=45, blank=True)
    action = models.CharField(max_length=32)
    kind = models.CharField(max_length=100)
    name = models.CharField(max_length=200, blank=True)
    key = models.CharField(max_length=64, blank=True)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    correlation = models.CharField("request", max_length=64, blank=True, help_text="Its name in the server's log lines.")

    class Meta:
        ordering = ["-pk"]
        verbose_name = "audit log entry"
        verbose_name_plural = "audit log"
        indexes = [models.Index(fields=["kind", "key"])]

    def __str__(self) -> str:
        return f"{self.who}: {self.action} {self.kind} {self.name}"
