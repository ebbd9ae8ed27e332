"""`manage.py serve`: run the serving processes."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from realtime import server


class Command(BaseCommand):
    """Serve HTTP and WebSocket with uvicorn."""

    help = "Serve HTTP and WebSocket until SIGTERM; then close every socket within the drain window."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options; their defaults are settings."""
        site, serving = settings.TICKWIRE.site, settings.TICKWIRE.serving
        parser.add_argument("--host", default=site.host)
        parser.add_argument("--port", type=int, default=site.port, help="0: any free port; it is printed")
        parser.add_argument("--workers", type=int, default=serving.workers)
        parser.add_argument("--drain", type=float, default=serving.drain_s, metavar="SECONDS")
        parser.add_argument("--as-worker", action="store_true", help="one of several processes on the same port")

    def handle(self, *args: Any, host: str, port: int, workers: int, drain: float, as_worker: bool, **options: Any) -> None:
        """Serve."""
        try:
            if workers > 1 and not as_worker:
                sys.exit(server.serve_many(host, port, workers, drain))
            sock = server.listen(host, port, shared=as_worker)
        except OSError as error:
            raise CommandError(f"cannot listen on {host} port {port}: {error.strerror}") from None
        if not as_worker:
            server.announce(host, sock.getsockname()[1])
        server.serve_one(sock, drain)
