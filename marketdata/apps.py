"""Django application of the domain."""

from django.apps import AppConfig


class MarketDataConfig(AppConfig):
    """Instruments, feeds and stored bars."""

    name = "marketdata"
    verbose_name = "Market data"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Note in the audit log what becomes of instruments and feeds."""
        from marketdata.journal import watch
        from marketdata.models import Feed, Instrument

        watch(Instrument, ignored=["updated_at"])
        watch(Feed, ignored=["updated_at"])
