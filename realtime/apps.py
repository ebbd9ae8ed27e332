"""Django application of the transport."""

from django.apps import AppConfig


class RealtimeConfig(AppConfig):
    """Plans, accounts and API keys."""

    name = "realtime"
    verbose_name = "Real time"
    default_auto_field = "django.db.models.BigAutoField"
