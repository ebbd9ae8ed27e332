"""The database: reachable, migrated, and of a kind that fits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from monitoring.doctor.findings import Finding, fail, ok, warn
from monitoring.masks import masked

NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs", "fuse.s3fs")
OLDEST = 140_000  # PostgreSQL, of what this Django supports
MANY = 4  # serving processes that SQLite carries
WAIT_S = 5  # for a connection


@dataclass(frozen=True)
class DatabaseFacts:
    """What is known of the database.

    Attributes:
        vendor: sqlite or postgresql.
        error: why it could not be asked; empty where it could.
        pending: migrations that were not applied.
        journal: of SQLite, its journal mode.
        disk: of SQLite, the type of its file system.
        version: of PostgreSQL, as 160004.
        most_connections: of PostgreSQL, what it allows all its clients.
        pool: connections that one process may open.
        processes: that may open them.
        workers: serving processes.
    """

    vendor: str
    error: str = ""
    pending: tuple[str, ...] = ()
    journal: str = ""
    disk: str = ""
    version: int = 0
    most_connections: int = 0
    pool: int = 0
    processes: int = 0
    workers: int = 1


@contextmanager
def directly() -> Iterator[int]:
    """Within this context the database is asked without its pool, which would try for half a minute each time.

    Returns:
        How many connections the pool of one process may open.
    """
    options = connection.settings_dict.get("OPTIONS") or {}
    pool = options.get("pool")
    if not pool:
        yield 1
        return
    others = {name: value for name, value in options.items() if name != "pool"}
    connection.close()
    connection.settings_dict["OPTIONS"] = {"connect_timeout": WAIT_S, **others}
    try:
        yield int(pool.get("max_size", 1))
    finally:
        connection.close()
        connection.settings_dict["OPTIONS"] = options


def ask(workers: int, pool: int = 1) -> DatabaseFacts:
    """Ask the database of the settings.

    Args:
        workers: serving processes.
        pool: connections that one of them may open.
    """
    vendor = connection.vendor
    others = 3  # worker, beat, feed
    try:
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        pending = tuple(f"{migration.app_label}.{migration.name}" for migration, _ in plan)
        if vendor == "sqlite":
            name = str(connection.settings_dict["NAME"])
            return DatabaseFacts(vendor, "", pending, _one("PRAGMA journal_mode"), disk_type(Path(name)), workers=workers)
        return DatabaseFacts(
            vendor,
            pending=pending,
            version=int(_one("SHOW server_version_num")),
            most_connections=int(_one("SHOW max_connections")),
            pool=pool,
            processes=workers + others,
            workers=workers,
        )
    except DatabaseError as error:
        return DatabaseFacts(vendor, error=masked(" ".join(str(error).split())).rstrip("."))


def _one(question: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(question)
        return str(cursor.fetchone()[0])


def disk_type(path: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """Type of the file system that a file is on, as `ext4`; empty where that cannot be seen."""
    try:
        rows = [line.split()[1:3] for line in mounts.read_text().splitlines()]
    except OSError:
        return ""
    place = path.resolve()
    above = [(len(at), kind) for at, kind in rows if place.is_relative_to(at.replace("\\040", " "))]
    return max(above)[1] if above else ""


def check(facts: DatabaseFacts) -> Iterator[Finding]:
    """Judge it."""
    if facts.error:
        yield fail("database", f"The database cannot be asked: {facts.error}.", "start it, or correct TICKWIRE_DATABASE_URL")
        return
    yield _migrations(facts.pending)
    if facts.vendor == "sqlite":
        yield _place(facts.disk)
        yield _journal(facts.journal)
        yield _sharing(facts.workers)
    else:
        yield _version(facts.version)
        yield _connections(facts)


def _migrations(pending: tuple[str, ...]) -> Finding:
    if pending:
        more = f" and {len(pending) - 1} more" if len(pending) > 1 else ""
        return fail("migrations", f"{pending[0]}{more} not applied.", "manage.py migrate")
    return ok("migrations", "All migrations are applied.")


def _place(disk: str) -> Finding:
    if disk in NETWORK:
        fix = "move TICKWIRE_DATA_DIR to a local disk, or use PostgreSQL (TICKWIRE_DATABASE_URL)"
        return fail("sqlite disk", f"SQLite is on a network disk ({disk}), where its locks cannot be relied on.", fix)
    return ok("sqlite disk", f"SQLite is on a local disk{f' ({disk})' if disk else ''}.")


def _journal(mode: str) -> Finding:
    if mode != "wal":
        fix = "sqlite3 tickwire.sqlite3 'PRAGMA journal_mode=WAL' while nothing runs"
        return warn("sqlite journal", f"SQLite's journal mode is {mode}: readers wait for writers.", fix)
    return ok("sqlite journal", "SQLite's readers do not wait for writers.")


def _sharing(workers: int) -> Finding:
    if workers > MANY:
        fix = "TICKWIRE_DATABASE_URL=postgresql://…"
        return warn(
            "sqlite sharing", f"{workers} serving processes share one SQLite file, which takes one writer at a time.", fix
        )
    return ok("sqlite sharing", "SQLite carries so few processes.")


def _version(version: int) -> Finding:
    if version < OLDEST:
        return fail("postgresql version", f"PostgreSQL {version // 10_000} is too old.", "upgrade to PostgreSQL 14 or newer")
    return ok("postgresql version", f"PostgreSQL {version // 10_000} is new enough.")


def _connections(facts: DatabaseFacts) -> Finding:
    need = facts.pool * facts.processes
    says = f"{facts.processes} processes may open {need} connections of the {facts.most_connections} that PostgreSQL allows."
    if need > facts.most_connections - 3:  # which it keeps for its administrators
        return warn("postgresql pool", says, f"max_connections = {need + 20} in postgresql.conf, or fewer TICKWIRE_WORKERS")
    return ok("postgresql pool", says)
