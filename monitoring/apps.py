"""Django application of the observer."""

from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    """Health, nodes and alerts."""

    name = "monitoring"
    verbose_name = "Monitoring"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Count queries from the first one on."""
        from monitoring import queries  # noqa: F401
