"""Roles of the staff, as groups with Django's permissions: viewer, operator, admin.

Rules of this file:
1. A role is given by making somebody staff and putting them into its group. No code asks for a role, all ask for permissions.
2. A group that exists keeps what it has and has not: an operator may have changed it. A migration only gives it permissions that
   did not exist before.
3. A viewer sees everything and changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth.models import Permission
from django.db import connections
from django.db.models import Q

if TYPE_CHECKING:
    from django.apps.registry import Apps

VIEWER, OPERATOR, ADMIN = "viewer", "operator", "admin"
OPERATED = {  # what an operator does beyond looking, by application
    "marketdata": ("add_instrument", "change_instrument", "delete_instrument", "add_feed", "change_feed", "delete_feed"),
    "realtime": ("add_account", "change_account", "change_apikey", "disconnect", "tap", "add_ban", "change_ban", "delete_ban"),
    "monitoring": ("change_alertrule", "test_notifier"),  # silence a rule, and see whether anybody hears
}

PERMISSIONS = Permission._meta.db_table

_known: frozenset[int] | None = None  # permissions before the migration that is going on; None: there is none
_EVERYTHING = Q(content_type__app_label__in=["marketdata", "realtime", "monitoring"]) | Q(
    content_type__app_label="auth", content_type__model__in=["user", "group"]
)
_LOOKING = _EVERYTHING & Q(codename__startswith="view_")


def permissions_of() -> dict[str, Q]:
    """Which permissions each role has."""
    operating = Q()
    for application, names in OPERATED.items():
        operating |= Q(content_type__app_label=application, codename__in=names)
    return {VIEWER: _LOOKING, OPERATOR: _LOOKING | operating, ADMIN: _EVERYTHING}


def note_permissions(database: str) -> None:
    """Before a migration: remember which permissions there are."""
    global _known
    tables = connections[database].introspection.table_names()
    _known = frozenset(Permission.objects.using(database).values_list("pk", flat=True) if PERMISSIONS in tables else ())


def load_roles(apps: Apps) -> None:
    """After a migration: make the groups that are missing, and give the others what is new."""
    global _known
    try:
        groups, permissions = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    except LookupError:  # only some applications are being migrated, and this one is not yet
        return
    for name, which in permissions_of().items():
        group, is_made = groups.objects.get_or_create(name=name)
        wanted = permissions.objects.filter(which)
        if is_made:
            group.permissions.set(wanted)
        elif _known is not None:
            group.permissions.add(*wanted.exclude(pk__in=_known))
    _known = None
