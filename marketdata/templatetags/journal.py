"""What happened lately, for the admin's first page."""

from __future__ import annotations

from django import template

from marketdata.models import JournalEntry

register = template.Library()


@register.simple_tag
def latest_entries(count: int) -> list[JournalEntry]:
    """The newest entries of the audit log."""
    return list(JournalEntry.objects.all()[:count])
