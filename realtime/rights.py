"""What users may do beyond what their plan allows: Django's permissions, asked within a query."""

from __future__ import annotations

from django.contrib.auth.models import Permission, User
from django.db.models import Exists, OuterRef, Q, QuerySet

PUBLISH = "realtime.publish"
DISCONNECT = "realtime.disconnect"
DRAIN = "realtime.drain"
TAP = "realtime.tap"


def holds(permission: str, user: str) -> Q:
    """Whether a user has a permission, as an expression to annotate with.

    Args:
        permission: `<application>.<codename>`.
        user: name of the field that leads to the user.
    """
    wanted = _which(permission)
    own = User.user_permissions.through.objects.filter(user=OuterRef(user), permission__in=wanted)
    of_groups = User.groups.through.objects.filter(user=OuterRef(user), group__permissions__in=wanted)
    return Q(**{f"{user}__is_superuser": True}) | Exists(own) | Exists(of_groups)


def grant(user: User, permission: str) -> None:
    """Give a user a permission."""
    user.user_permissions.add(_which(permission).get())


def _which(permission: str) -> QuerySet[Permission]:
    application, _, codename = permission.partition(".")
    return Permission.objects.filter(content_type__app_label=application, codename=codename)
