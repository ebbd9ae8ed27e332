"""Writes the shipped alert rules as Prometheus reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from monitoring.prometheus_rules import document
from monitoring.shipped import SHIPPED


class Command(BaseCommand):
    """`manage.py prometheus_rules`."""

    help = "Print the shipped alert rules as a file of Prometheus' rules, or write them into one."

    def add_arguments(self, parser: CommandParser) -> None:
        """One option."""
        parser.add_argument("--document", type=Path, help="the file to write")

    def handle(self, *args: Any, document: Path | None = None, **options: Any) -> None:
        """Print, or write."""
        text = _document()
        if document is None:
            self.stdout.write(text, ending="")
        else:
            document.write_text(text, encoding="utf-8")


def _document() -> str:
    return document(SHIPPED)
