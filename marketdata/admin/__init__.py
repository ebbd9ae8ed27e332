"""The domain in Django's admin: one noun per file."""

from marketdata.admin import feeds, instruments, journal, klines

__all__ = ["feeds", "instruments", "journal", "klines"]
