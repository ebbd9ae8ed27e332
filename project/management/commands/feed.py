"""`manage.py feed`: the process of the streaming feeds."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import uvloop
from django.core.management.base import BaseCommand, CommandError

from marketdata import supervisor
from marketdata.errors import BadFeedOptions
from monitoring.reporter import ThreadReporter


class Command(BaseCommand):
    """Run the streaming feeds."""

    help = "Runs the streaming feeds that TICKWIRE_FEEDS names and the admin enables, until SIGTERM or Ctrl-C."

    def handle(self, *args: Any, **options: Any) -> None:
        ThreadReporter("feed").start()
        try:
            uvloop.run(_run())
        except BadFeedOptions as error:
            raise CommandError(str(error)) from None


async def _run() -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await supervisor.run(stopping)
