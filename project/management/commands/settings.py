"""`manage.py settings`: the settings in force, and their table in the documentation."""

from __future__ import annotations

import dataclasses
from itertools import groupby
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from marketdata.marks import between_marks
from project.config import SECTIONS, knobs
from project.knobs import default_of

BEGIN, END = "<!-- settings: written by `make docs` -->\n", "<!-- end of settings -->\n"


class Command(BaseCommand):
    """Print the settings in force; secrets stay hidden."""

    help = "Prints the settings in force, those that differ from their default marked with *."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--document", metavar="FILE", type=Path, help="write the table of all settings into this file instead"
        )

    def handle(self, *args: Any, document: Path | None = None, **options: Any) -> None:
        if document:
            document.write_text(documented(document.read_text()))
            return
        for section, item in knobs():
            value = getattr(getattr(settings.TICKWIRE, section), item.name)
            mark = " " if value == default_of(item) else "*"
            self.stdout.write(f"{mark} {item.metadata['env']:<32} {_shown(item, value)}")


def _shown(item: dataclasses.Field[Any], value: Any) -> str:
    if item.metadata["secret"] and value:
        return "(hidden)"
    return ",".join(value) if isinstance(value, list) else str(value)


def documented(text: str) -> str:
    """The document with the table of this version in place of the one between the marks.

    Raises:
        CommandError: the marks are missing.
    """
    return between_marks(text, BEGIN, END, tables())


def tables() -> str:
    """One Markdown table per section, in the order of declaration."""
    return "".join(
        _table(SECTIONS[name], [item for _, item in items]) for name, items in groupby(knobs(), key=lambda pair: pair[0])
    )


def _table(kind: type, items: list[dataclasses.Field[Any]]) -> str:
    rows = ["| Setting | Default | Unit | Range | Meaning |", "|---|---|---|---|---|", *map(_row, items)]
    return f"\n### {(kind.__doc__ or '').rstrip('.')}\n\n" + "\n".join(rows) + "\n\n"


def _row(item: dataclasses.Field[Any]) -> str:
    about = item.metadata
    default = _shown(item, default_of(item))
    meaning = about["meaning"] + (" (secret)" if about["secret"] else "")
    bounds = {(False, False): "", (True, False): f"≥ {about['low']}", (False, True): f"≤ {about['high']}"}
    span = bounds.get((about["low"] is not None, about["high"] is not None), f"{about['low']}–{about['high']}")
    return f"| `{about['env']}` | {f'`{default}`' if default else 'empty'} | {about['unit']} | {span} | {meaning} |"
