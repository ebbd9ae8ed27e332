"""A part of a document that is written from the code, between two marks."""

from __future__ import annotations

from django.core.management.base import CommandError


def between_marks(text: str, begin: str, end: str, part: str) -> str:
    """The document with this part in place of the one between the marks.

    Raises:
        CommandError: the marks are missing.
    """
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise CommandError(f"no lines {begin.strip()} and {end.strip()} in the file")
    return before + begin + part + end + after
