"""Django application of the observer."""

from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    """Health, nodes and alerts."""

    name = "monitoring"
    verbose_name = "Monitoring"
    default_auto_field = "django.db.models.BigAutoField"
