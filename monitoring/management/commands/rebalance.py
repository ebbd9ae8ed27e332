"""`manage.py rebalance`: has serving processes with more than their share of connections close the excess, slowly."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from marketdata.errors import StoreUnavailable
from marketdata.journal import note
from monitoring.registry import Process, processes
from realtime.orders import orders

OVER_S = 10.0


def excess(found: list[Process], percent: float) -> dict[str, int]:
    """How many connections each process has beyond the mean and `percent` of it; those that have not are left out."""
    serving = [process for process in found if process.role == "web" and not process.draining]
    if not serving:
        return {}
    mean = sum(process.connections for process in serving) / len(serving)
    most = mean * (1 + percent / 100)
    over = {process.name: int(process.connections - mean) for process in serving if process.connections > most}
    return {name: count for name, count in over.items() if count}


class Command(BaseCommand):
    """Spread connections evenly again, after a process was added or came back."""

    help = "Closes connections (4001: connect again) of processes that have more than their share, spread over some seconds."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--percent", type=float, default=10.0, help="by how much a process may be over the mean (10)")
        parser.add_argument("--over", type=float, default=OVER_S, metavar="SECONDS", help="how long the closing takes (10)")
        parser.add_argument("--dry-run", action="store_true", help="only say what would be closed")

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask, and have it done.

        Raises:
            CommandError: a number that makes no sense, or Redis does not answer.
        """
        if not options["percent"] >= 0 or not 0 < options["over"] <= 3600:
            raise CommandError("--percent must not be negative, and --over must be more than 0 and at most 3600 seconds")
        try:
            found = excess(processes(), options["percent"])
            for node, count in found.items():
                if not options["dry_run"] and orders().shed(node, count, options["over"]):
                    note("rebalance", "node", node, after={"closed": count})
                self.stdout.write(f"{node}: {count} connections")
        except StoreUnavailable as error:
            raise CommandError(str(error)) from None
        if not found:
            self.stdout.write("Connections are spread evenly enough.")
