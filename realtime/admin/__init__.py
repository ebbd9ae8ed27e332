"""The transport in Django's admin: one noun per file."""

from realtime.admin import accounts, bans, connections, keys, plans, usage, users

__all__ = ["accounts", "bans", "connections", "keys", "plans", "usage", "users"]
