"""`manage.py doctor`: looks at everything that an operator can get wrong, and names what mends it."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from marketdata.addresses import is_service
from monitoring.doctor import catalogue, clocks, database, machine, proxy, redis_server, sentinels, site
from monitoring.doctor.findings import Finding, as_json, as_text, failed


class Command(BaseCommand):
    """Look, and say how things are; nothing is changed."""

    help = "Checks Redis, limits, clocks, database, settings, plans and feeds. Exit code 1 where something fails."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", dest="as_json", help="the findings as one JSON object")
        parser.add_argument(
            "--through", metavar="URL", help="also open a WebSocket there, as clients do, and watch the proxy's time-out"
        )
        parser.add_argument("--seconds", type=float, default=65.0, help="how long to watch it (65)")

    def handle(self, *args: Any, as_json: bool, through: str | None, seconds: float, **options: Any) -> None:
        """Look."""
        findings = list(look())
        if through:
            findings += proxy.check(proxy.ask(through, seconds))
        self.stdout.write(_shown(findings, as_json))
        if failed(findings):
            sys.exit(1)


def _shown(findings: list[Finding], wanted_json: bool) -> str:
    return as_json(findings) if wanted_json else as_text(findings)


def look() -> Iterator[Finding]:
    """Everything that can be seen without a client."""
    with database.directly() as pool:
        yield from _look(settings.TICKWIRE, pool)


def _look(config: Any, pool: int) -> Iterator[Finding]:
    serving = config.serving
    yield from redis_server.check(redis_server.ask(config.redis_url))
    if config.bus.broker_url:
        yield from redis_server.check_broker(redis_server.ask(config.bus.broker_url))
    if is_service(config.redis_url):
        yield from sentinels.check(sentinels.ask(config.redis_url))
    yield from machine.check(machine.ask(config.data_dir, serving.max_connections, serving.workers))
    yield from clocks.check(clocks.ask(config.redis_url))
    yield from database.check(database.ask(serving.workers, pool))
    yield from site.check(site.ask(config))
    if (found := catalogue.ask()) is not None:
        yield from catalogue.check(found)
