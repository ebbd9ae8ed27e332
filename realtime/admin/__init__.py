"""The transport in Django's admin: one noun per file."""

from realtime.admin import accounts, keys, plans, users

__all__ = ["accounts", "keys", "plans", "users"]
