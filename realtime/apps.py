"""Django application of the transport."""

from typing import Any

from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate, pre_migrate


class RealtimeConfig(AppConfig):
    """Plans, accounts and API keys."""

    name = "realtime"
    verbose_name = "Real time"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Tell of changes and note them, and see to the first plans after every migration; a data migration would lose them to
        the flush between tests. The roles wait for the applications above (`monitoring.apps`).
        """
        pre_migrate.connect(_before_migration, sender=self)
        post_migrate.connect(_load_first_rows, sender=self)
        from realtime import changes

        changes.connect()
        _watch()


def _before_migration(using: str, **_: Any) -> None:
    from realtime.roles import note_permissions

    note_permissions(using)


def _load_first_rows(**given: Any) -> None:
    from realtime.limits import load_first_plans

    load_first_plans(given.get("apps", apps))  # a flush, unlike a migration, gives none


def _watch() -> None:
    """Note in the audit log what becomes of plans, accounts, bans, keys, users and roles."""
    from django.contrib.auth.models import Group, User

    from marketdata.journal import watch
    from realtime.models import Account, ApiKey, Ban, Plan

    watch(Plan)
    watch(Account)
    watch(Ban)
    watch(ApiKey, ignored=["hash", "last_used_at"])
    watch(User, hidden=["password"], ignored=["last_login"], relations=["groups", "user_permissions"])
    watch(Group, relations=["permissions"])
