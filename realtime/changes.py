"""What changed at rest is told to all serving processes, whoever changed it: the admin, REST, a command.

Signals only carry the word. Nothing depends on its being heard: `warden` finds out by looking, too, if later.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models.signals import m2m_changed, post_delete, post_save

from realtime.keys import digest
from realtime.models import Account, ApiKey, Ban, Plan
from realtime.orders import Changed, tell

UNIMPORTANT = {frozenset({"last_login"}), frozenset({"last_used_at"})}  # alone they change nothing for anybody


def connect() -> None:
    """Have every change of these rows be told."""
    for signal in (post_save, post_delete):
        signal.connect(_plan, sender=Plan)
        signal.connect(_of_user, sender=Account)
        signal.connect(_of_user, sender=ApiKey)
        signal.connect(_user, sender=User)
        signal.connect(_ban, sender=Ban)
    post_delete.connect(_session, sender=Session)
    for through in (User.groups.through, User.user_permissions.through):
        m2m_changed.connect(_rights_of_user, sender=through)
    m2m_changed.connect(_rights_of_group, sender=Group.permissions.through)
    post_delete.connect(_group, sender=Group)


def tell_soon(change: Changed) -> None:
    """Tell it when the transaction is done, if there is one."""
    transaction.on_commit(lambda: tell(change))


def _matters(given: dict[str, Any]) -> bool:
    return frozenset(given.get("update_fields") or ()) not in UNIMPORTANT


def _plan(**_: Any) -> None:
    tell_soon(Changed(plans=True))


def _of_user(instance: Account | ApiKey, **given: Any) -> None:
    if _matters(given):
        tell_soon(Changed(users=(instance.user_id,)))


def _user(instance: User, **given: Any) -> None:
    if _matters(given) and not given.get("created"):
        tell_soon(Changed(users=(instance.pk,)))


def _ban(**_: Any) -> None:
    tell_soon(Changed(bans=True))


def _session(instance: Session, **_: Any) -> None:
    tell_soon(Changed(sessions=(digest(instance.session_key),)))


def _rights_of_user(instance: User | Group, **given: Any) -> None:
    if given["action"].startswith("post_"):
        tell_soon(Changed(users=(instance.pk,)) if isinstance(instance, User) else Changed(everyone=True))


def _group(**_: Any) -> None:
    tell_soon(Changed(everyone=True))  # of its members nothing is told


def _rights_of_group(**given: Any) -> None:
    if given["action"].startswith("post_"):
        tell_soon(Changed(everyone=True))
