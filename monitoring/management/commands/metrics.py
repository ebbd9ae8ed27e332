"""`manage.py metrics`: every metric that is exported, and their tables in the documentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from marketdata.marks import between_marks
from monitoring.metrics import CELERY, INSTALLATION, METRICS, PROCESS, SERVING, Metric

BEGIN, END = "<!-- metrics: written by `make docs` -->\n", "<!-- end of metrics -->\n"
GROUPS = {
    "Of each serving process": SERVING,
    "Of each process": PROCESS,
    "Of each Celery worker": CELERY,
    "Of the installation": INSTALLATION,
}


class Command(BaseCommand):
    """Print the metrics."""

    help = "Prints every metric: its kind, name and meaning."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--document", metavar="FILE", type=Path, help="write the tables into this file instead")

    def handle(self, *args: Any, document: Path | None = None, **options: Any) -> None:
        if document:
            document.write_text(documented(document.read_text()))
            return
        for metric in METRICS.values():
            self.stdout.write(f"{metric.kind:<9} {metric.name:<44} {metric.help}")


def documented(text: str) -> str:
    """The document with the tables of this version in place of those between the marks.

    Raises:
        CommandError: the marks are missing.
    """
    return between_marks(text, BEGIN, END, "".join(map(_table, GROUPS.items())))


def _table(group: tuple[str, tuple[Metric, ...]]) -> str:
    name, metrics = group
    rows = ["| Metric | Kind | Labels | Meaning |", "|---|---|---|---|", *map(_row, metrics)]
    return f"\n### {name}\n\n" + "\n".join(rows) + "\n\n"


def _row(metric: Metric) -> str:
    labels = " ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |"
