"""Where browser sessions are kept: in the database, which is asked for names only that one can have."""

from __future__ import annotations

from django.contrib.sessions.backends.db import SessionStore as InDatabase


class SessionStore(InDatabase):
    """Django's own, to which any other name in a cookie is that of no session: PostgreSQL would fail at some."""

    def _validate_session_key(self, key: str | None) -> bool:
        return key is not None and len(key) >= 8 and key.isascii() and key.isalnum()
