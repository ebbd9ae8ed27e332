"""Django application of the observer."""

from typing import Any

from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate


class MonitoringConfig(AppConfig):
    """Health, nodes and alerts."""

    name = "monitoring"
    verbose_name = "Monitoring"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Count queries from the first one on, note what becomes of rules and notifiers, and see to the first ones."""
        from monitoring import queries  # noqa: F401

        post_migrate.connect(_load_first_rows, sender=self)
        _watch()


def _load_first_rows(**given: Any) -> None:
    """The roles are seen to here, behind the last application that has permissions: there are none of it before."""
    from monitoring.shipped import load_first_rules
    from realtime.roles import load_roles

    found = given.get("apps", apps)  # a flush, unlike a migration, gives none
    load_first_rules(found)
    load_roles(found)


def _watch() -> None:
    from marketdata.journal import watch
    from monitoring.models import AlertRule, Notifier

    watch(Notifier, hidden=["url"])
    watch(AlertRule, relations=["notifiers", "escalation_notifiers"])
