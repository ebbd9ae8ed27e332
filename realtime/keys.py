"""API keys: made, found, revoked; only hashes are kept."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import string
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import DatabaseError
from django.db.models import QuerySet
from django.utils import timezone

from marketdata.journal import doing
from realtime.models import ApiKey
from realtime.rights import PUBLISH, holds

logger = logging.getLogger(__name__)

FORM = re.compile(r"tw_([a-z0-9]{8})_([A-Za-z0-9_-]{32,64})")
USE_NOTED_S = 60  # a key that is in use writes to the database this often


def create_key(
    user: User, name: str = "", *, can_publish: bool = False, is_staff: bool = False, expires_at: datetime | None = None
) -> tuple[ApiKey, str]:
    """Make an API key.

    Returns:
        The row, and the key itself: `tw_<prefix>_<secret>`. Nobody can read it again.
    """
    prefix = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))
    secret = secrets.token_urlsafe(32)
    row = ApiKey.objects.create(
        user=user,
        name=name,
        prefix=prefix,
        hash=digest(secret),
        can_publish=can_publish,
        is_staff=is_staff,
        expires_at=expires_at,
    )
    return row, f"tw_{prefix}_{secret}"


def find_key(text: str) -> ApiKey | None:
    """The living key of that text, its user, account and plan with it, in one query; None for any other text."""
    form = FORM.fullmatch(text)
    if form is None:
        return None
    key = living_key(form[1])
    if key is None or not hmac.compare_digest(key.hash, digest(form[2])):
        return None
    _note_use(key)
    return key


def living_key(prefix: str) -> ApiKey | None:
    """The key of that prefix, its user, account and plan with it, in one query; None: there is none, or it ended."""
    key = with_rights().filter(prefix=prefix).first()
    return key if key is not None and _is_alive(key) else None


def with_rights() -> QuerySet[ApiKey]:
    """Keys with user, account and plan, and whether the user `may_publish`, in one query."""
    return ApiKey.objects.select_related("user__account__plan").annotate(may_publish=holds(PUBLISH, "user"))


def revoke(keys: QuerySet[ApiKey]) -> int:
    """End keys for good, and the connections that use them; returns how many were not ended before."""
    ended = 0
    with doing("revoke"):
        for key in keys.filter(revoked_at=None):
            key.revoked_at = timezone.now()
            key.save(update_fields=["revoked_at"])  # one by one: each is told, and is a line of the audit log
            ended += 1
    return ended


def digest(secret: str) -> str:
    """SHA-256 in hexadecimal: a secret of 256 random bits needs no slow hash."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _is_alive(key: ApiKey) -> bool:
    expired = key.expires_at is not None and key.expires_at <= timezone.now()
    return key.revoked_at is None and not expired and key.user.is_active


def _note_use(key: ApiKey) -> None:
    now = timezone.now()
    if key.last_used_at and now - key.last_used_at < timedelta(seconds=USE_NOTED_S):
        return
    try:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
    except DatabaseError as error:  # a busy database must not keep anybody out
        logger.warning("use of key %s not noted: %s", key.prefix, error)
