"""Django application of the domain."""

from django.apps import AppConfig


class MarketDataConfig(AppConfig):
    """Instruments, feeds and stored bars."""

    name = "marketdata"
    verbose_name = "Market data"
    default_auto_field = "django.db.models.BigAutoField"
