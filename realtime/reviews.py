"""What credentials of open connections are worth now: many at once, in three queries."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

import msgspec
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from marketdata.database import answering
from marketdata.outage import Outage
from realtime.auth import principal_of
from realtime.codes import Close
from realtime.keys import with_rights
from realtime.limits import UnreadableLimits, last_known
from realtime.models import ApiKey
from realtime.principal import Login, Principal, Unauthorized

logger = logging.getLogger(__name__)

AT_ONCE = 500  # in one query
Verdict = Principal | Close  # as it is from now on, or why it may not go on

_unreadable = Outage("reading what a user may do, which stays as it was", logger)


def review(principals: Sequence[Principal]) -> list[Verdict]:
    """Ask the database about users; call it in a thread.

    Args:
        principals: of users.

    Returns:
        For each, in order, what it is now. Rights that it did not have it does not get: for those one connects again.

    Raises:
        DatabaseUnavailable: it does not answer.
    """
    with answering():
        failures = _unreadable.failures
        found = [verdict for at in range(0, len(principals), AT_ONCE) for verdict in _review(principals[at : at + AT_ONCE])]
    if _unreadable.failures == failures:
        _unreadable.over()
    return found


def _review(principals: Sequence[Principal]) -> list[Verdict]:
    by_key = [principal.key_prefix for principal in principals if principal.key_prefix is not None]
    by_user = [principal.user_id for principal in principals if principal.key_prefix is None]
    sessions = [principal.login.key for principal in principals if principal.login is not None]
    keys = {key.prefix: key for key in with_rights().filter(prefix__in=by_key)} if by_key else {}
    users = User.objects.select_related("account__plan").in_bulk(by_user) if by_user else {}
    living = _living(sessions) if sessions else set()
    return [_verdict(principal, keys, users, living) for principal in principals]


def _living(sessions: Collection[str]) -> set[str]:
    found = Session.objects.filter(session_key__in=sessions, expire_date__gt=timezone.now())
    return set(found.values_list("session_key", flat=True))


def _verdict(principal: Principal, keys: dict[str, ApiKey], users: dict[int, User], living: set[str]) -> Verdict:
    key = keys.get(principal.key_prefix) if principal.key_prefix is not None else None
    if principal.key_prefix is not None and (key is None or key.revoked_at is not None):
        return Close.UNAUTHORIZED
    user = key.user if key is not None else users.get(principal.user_id or 0)
    if user is None or not user.is_active:
        return Close.DISABLED
    if principal.login is not None and not _is_logged_in(principal.login, user, living):
        return Close.UNAUTHORIZED
    try:
        return _as_shown(principal, principal_of(user, key))
    except Unauthorized:  # its plan is disabled
        return Close.DISABLED
    except UnreadableLimits as error:  # whoever else is looked at must not suffer for it
        _unreadable.failed(f"user {user.pk}: {error}")
        return principal


def _is_logged_in(login: Login, user: User, living: set[str]) -> bool:
    """Whether the session goes on, and the password is the one that it began with."""
    if login.key not in living:
        return False
    hashes = (user.get_session_auth_hash(), *user.get_session_auth_fallback_hash())
    return any(constant_time_compare(login.auth_hash, each) for each in hashes)


def _as_shown(shown: Principal, whole: Principal) -> Verdict:
    """What a user is worth now, narrowed as its credential was."""
    limits = whole.limits
    if shown.plan_claimed:
        claimed = (last_known() or {}).get(shown.plan_name)
        if claimed is None:
            return Close.DISABLED
        limits = claimed.overridden(whole.overrides)
    return msgspec.structs.replace(
        whole,
        plan_name=shown.plan_name if shown.plan_claimed else whole.plan_name,
        limits=limits,
        plan_claimed=shown.plan_claimed,
        expires_at_us=whole.expires_at_us if shown.key_prefix is not None else shown.expires_at_us,
        can_publish=shown.can_publish and whole.can_publish,
        is_staff=shown.is_staff and whole.is_staff,
        login=shown.login,
    )


def visitor(principal: Principal) -> Verdict:
    """What a visitor is worth now, from memory."""
    plans = last_known()
    limits = plans.get(principal.plan_name) if plans is not None else principal.limits
    return Close.DISABLED if limits is None else msgspec.structs.replace(principal, limits=limits)
