"""`manage.py up`: what `make run` runs; checks, prepares and starts everything, and stops it on Ctrl-C."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection, connections
from django.db.migrations.executor import MigrationExecutor
from honcho.environ import parse_procfile

from project import redis_server
from project.config import ROOT, Config
from project.processes import Processes
from realtime.models import Account, Plan


class Command(BaseCommand):
    """Start every process of the Procfile under one log."""

    help = "Prepares the data folder and starts every process of the Procfile; Ctrl-C stops them."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            sys.exit(self._run(settings.TICKWIRE))
        except KeyboardInterrupt:
            sys.exit(130)

    def _run(self, config: Config) -> int:
        refuse_taken(config)
        migrate()
        if "demo" in config.sources.feeds:
            call_command("load_demo", stdout=self.stdout)
        password = ensure_administrator()
        connections.close_all()
        self.stdout.write(banner(config, password))
        self.stdout.flush()
        return Processes(lines(config), environment(config)).run()


def refuse_taken(config: Config) -> None:
    """Fail before anything starts when the port or the data folder belongs to another copy."""
    family = socket.AF_INET6 if ":" in config.site.host else socket.AF_INET
    with socket.socket(family) as probe:
        # Without SO_REUSEPORT, which the serving processes use and which would let two copies share the port unnoticed.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.site.host, config.site.port))
        except OSError as error:
            raise CommandError(f"PORT: cannot listen on {config.site.host}:{config.site.port}: {error.strerror}") from None
    if config.private_redis:
        try:
            redis_server.binary()
            os.close(redis_server.claim(config))
        except (FileNotFoundError, redis_server.AlreadyRuns) as error:
            raise CommandError(str(error)) from None


def migrate() -> None:
    """Bring the tables up to date; quick when they are."""
    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            call_command("migrate", verbosity=0, interactive=False)
    except OperationalError as error:
        raise CommandError(f"TICKWIRE_DATABASE_URL: the database cannot be used: {error}") from None


def ensure_administrator() -> str | None:
    """Create the user `admin` where there is no administrator yet.

    Returns:
        The generated password, which is kept nowhere, or None.
    """
    users = get_user_model().objects
    if users.filter(is_superuser=True).exists():
        return None
    password = secrets.token_urlsafe(12)
    admin = users.create_superuser("admin", password=password)
    if plan := Plan.objects.filter(name="pro").first():
        Account.objects.update_or_create(user=admin, defaults={"plan": plan})
    return password


def banner(config: Config, password: str | None) -> str:
    """What a person wants to know first: where everything is."""
    host = {"0.0.0.0": "localhost", "::": "localhost"}.get(config.site.host, config.site.host)  # noqa: S104
    place = f"{f'[{host}]' if ':' in host else host}:{config.site.port}"
    rows = {
        "Page": f"http://{place}/",
        "Admin": f"http://{place}/admin/",
        "Monitor": f"http://{place}/monitor/",
        "API": f"http://{place}/api/docs/",
        "WebSocket": f"ws://{place}/ws/v1/market",
    }
    if password:
        rows["Password"] = f"{password}   (user admin; shown only now, change it with manage.py changepassword admin)"
    return "\n".join(["", "Tickwire", *(f"  {name:<10} {value}" for name, value in rows.items()), "  Ctrl-C stops it.", ""])


def lines(config: Config) -> dict[str, str]:
    """The Procfile, less what this installation has elsewhere."""
    found: dict[str, str] = parse_procfile((ROOT / "Procfile").read_text()).processes
    return {name: line for name, line in found.items() if name != "redis" or config.private_redis}


def environment(config: Config) -> dict[str, str]:
    """What the Procfile's lines see: this Python first on the path, the values that they name, and that people read their log."""
    look = config.observing.log_format
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "PORT": str(config.site.port),
        "PYTHONUNBUFFERED": "1",
        "TICKWIRE_DATA_DIR": str(config.data_dir),
        "TICKWIRE_LOG_FORMAT": "console" if look == "auto" else look,
    }
