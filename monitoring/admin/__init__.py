"""Alerting in Django's admin: one noun per file."""

from monitoring.admin import alerts, notifiers, rules

__all__ = ["alerts", "notifiers", "rules"]
