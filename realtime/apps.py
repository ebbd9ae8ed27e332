"""Django application of the transport."""

from typing import Any

from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate


class RealtimeConfig(AppConfig):
    """Plans, accounts and API keys."""

    name = "realtime"
    verbose_name = "Real time"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Tell of changes, and see to the first plans after every migration; a data migration would lose them to the flush
        between tests.
        """
        post_migrate.connect(_load_first_plans, sender=self)
        from realtime import changes

        changes.connect()


def _load_first_plans(**given: Any) -> None:
    from realtime.limits import load_first_plans

    load_first_plans(given.get("apps", apps))  # a flush, unlike a migration, gives none
