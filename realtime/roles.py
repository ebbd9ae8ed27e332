"""Roles of the staff, as groups with Django's permissions: viewer, operator, admin.

Rules of this file:
1. A role is given by making somebody staff and putting them into its group. No code asks for a role, all ask for permissions.
2. A group that exists is left as it is: an operator may have changed it.
3. A viewer sees everything and changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Q

if TYPE_CHECKING:
    from django.apps.registry import Apps

VIEWER, OPERATOR, ADMIN = "viewer", "operator", "admin"
OPERATED = {  # what an operator does beyond looking, by application
    "marketdata": ("add_instrument", "change_instrument", "delete_instrument", "add_feed", "change_feed", "delete_feed"),
    "realtime": ("add_account", "change_account", "change_apikey", "disconnect", "add_ban", "change_ban", "delete_ban"),
}

_EVERYTHING = Q(content_type__app_label__in=["marketdata", "realtime"]) | Q(
    content_type__app_label="auth", content_type__model__in=["user", "group"]
)
_LOOKING = _EVERYTHING & Q(codename__startswith="view_")


def permissions_of() -> dict[str, Q]:
    """Which permissions each role has."""
    operating = Q()
    for application, names in OPERATED.items():
        operating |= Q(content_type__app_label=application, codename__in=names)
    return {VIEWER: _LOOKING, OPERATOR: _LOOKING | operating, ADMIN: _EVERYTHING}


def load_roles(apps: Apps) -> None:
    """Make the groups that are missing."""
    try:
        groups, permissions = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    except LookupError:  # only some applications are being migrated, and this one is not yet
        return
    for name, which in permissions_of().items():
        group, is_new = groups.objects.get_or_create(name=name)
        if is_new:
            group.permissions.set(permissions.objects.filter(which))
